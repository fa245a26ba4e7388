// KV pages under pressure, and beginnings that are shared.

#include <gtest/gtest.h>

#include "tests/unit/coordinator/support.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

PipelineLimits limits(std::size_t pages, std::size_t slots = 4) {
    return {.stages = 2,
            .max_in_flight = 2,
            .max_batch_rows = 64,
            .kv_pages = pages,
            .page_tokens = 4,
            .context = 64,
            .slots = slots};
}

/// A prompt of tokens first, first + 1, …
GenerationRequest ask(TokenId first, std::size_t prompt, std::uint32_t max_tokens) {
    GenerationRequest request{.max_tokens = max_tokens};
    for (std::size_t i = 0; i < prompt; ++i)
        request.prompt.push_back(first + static_cast<TokenId>(i));
    return request;
}

/// The next token is a function of the row's, as a model's is.
TokenId a_model(const Row& row) {
    static const auto letters = [] {
        std::vector<TokenId> all;
        for (char letter = 'a'; letter <= 'z'; ++letter)
            all.push_back(token_of(std::string(1, letter)));
        return all;
    }();
    return letters[(static_cast<std::size_t>(row.token) * 7 + row.position) % letters.size()];
}

TEST(SchedulerPages, MoreFitThanTheirLongestAnswersWould) {
    // Each may come to need all 16 pages, but takes one for its prompt and one to grow.
    Pipeline p(limits(16));
    for (std::uint64_t id = 1; id <= 2; ++id)
        ASSERT_TRUE(p.submit(id, ask(static_cast<TokenId>(100 * id), 4, 20)));
    EXPECT_EQ(p.scheduler.active_sequences(), 2U);
    p.drain();
    p.expect_idle();
}

// Growth is promised for 64 tokens only; answers are longer and pages few.
PipelineLimits tight() {
    PipelineLimits l = limits(100);
    l.context = 400;
    return l;
}

TEST(SchedulerPages, PausesUnderPressureKillNobody) {
    for (const std::size_t kept : {0U, 8U}) {
        Pipeline p(tight(), {.kept_sequences = kept});
        p.next_token = a_model;
        std::map<std::uint64_t, GenerationRequest> asked;
        for (std::uint64_t id = 1; id <= 4; ++id) {
            asked[id] = ask(static_cast<TokenId>(100 * id), 20, 300);
            ASSERT_TRUE(p.submit(id, asked[id]));
        }
        p.drain();
        const auto counters = p.scheduler.counters();
        EXPECT_GT(counters.pauses, 0U);
        EXPECT_EQ(counters.replays, counters.pauses);
        EXPECT_GT(counters.rows_replayed, 0U);
        for (std::uint64_t id = 1; id <= 4; ++id) {
            const auto& choice = p.told[id].choices.at(0);
            EXPECT_EQ(choice.finished, FinishReason::kLength);
            EXPECT_EQ(p.told[id].usage.completion_tokens, 300U);
            Pipeline q(tight());
            q.next_token = a_model;
            ASSERT_TRUE(q.submit(1, asked[id]));
            q.drain();
            EXPECT_EQ(choice.text, q.told[1].choices.at(0).text) << "request " << id;
        }
        p.expect_idle();
    }
}

TEST(SchedulerPages, TheOldestIsNeverPausedAndBatchGoesFirst) {
    Pipeline p(tight(), {.kept_sequences = 0});
    GenerationRequest batch = ask(100, 20, 300);
    batch.priority = Priority::kBatch;
    ASSERT_TRUE(p.submit(1, batch));
    ASSERT_TRUE(p.submit(2, ask(300, 20, 300)));
    while (p.told[2].endings == 0)
        ASSERT_TRUE(p.answer());
    // The interactive one came later, but the batch one was paused for it.
    EXPECT_EQ(p.told[1].endings, 0);
    EXPECT_GT(p.scheduler.counters().pauses, 0U);
    p.drain();
    EXPECT_EQ(p.told[1].usage.completion_tokens, 300U);
    p.expect_idle();
}

TEST(SchedulerPages, CancellingAPausedRequestLeavesNothing) {
    Pipeline p(tight(), {.kept_sequences = 0});
    for (std::uint64_t id = 1; id <= 4; ++id)
        ASSERT_TRUE(p.submit(id, ask(static_cast<TokenId>(100 * id), 20, 300)));
    while (p.scheduler.paused_sequences() == 0)
        ASSERT_TRUE(p.answer());
    p.cancel(4);
    p.cancel(3);
    EXPECT_EQ(p.scheduler.paused_sequences(), 0U);
    p.drain();
    p.expect_idle();
}

// ------------------------------------------------------------------------------------- beginnings

PipelineLimits wide(std::size_t stages = 2) {
    return {.stages = stages,
            .max_in_flight = stages + 1,
            .max_batch_rows = 256,
            .kv_pages = 200,
            .page_tokens = 16,
            .context = 2048,
            .slots = 8};
}

TEST(SchedulerPrefix, ASecondRequestFeedsOnlyWhatIsNew) {
    for (const std::size_t stages : {1U, 3U}) {
        Pipeline p(wide(stages));
        GenerationRequest first = ask(1000, 1010, 5);
        ASSERT_TRUE(p.submit(1, first));
        p.drain();
        EXPECT_EQ(p.told[1].usage.cached_tokens, 0U);
        EXPECT_EQ(p.scheduler.counters().rows_prefilled, 1010U);
        EXPECT_EQ(p.scheduler.kept_sequences(), 1U);
        // The same thousand tokens, then others.
        GenerationRequest second = first;
        second.prompt.resize(1000);
        for (TokenId token = 1; token <= 30; ++token)
            second.prompt.push_back(token);
        const std::size_t sent = p.sent.size();
        ASSERT_TRUE(p.submit(2, second));
        p.drain();
        EXPECT_EQ(p.told[2].usage.cached_tokens, 1000U);
        EXPECT_EQ(p.told[2].usage.prompt_tokens, 1030U);
        EXPECT_EQ(p.scheduler.counters().rows_prefilled, 1040U);
        EXPECT_EQ(p.scheduler.counters().rows_from_cache, 1000U);
        // What every stage computes is what is sent: 30 rows of the prompt, 4 of the answer.
        std::size_t rows = 0;
        for (std::size_t i = sent; i < p.sent.size(); ++i)
            rows += p.sent[i].rows.size();
        EXPECT_EQ(rows, 34U);
        p.expect_idle();
    }
}

TEST(SchedulerPrefix, TheNextTurnOfAConversationGoesOnFromTheAnswer) {
    Pipeline p(wide());
    GenerationRequest first = ask(1000, 50, 10);
    ASSERT_TRUE(p.submit(1, first));
    p.drain();
    GenerationRequest second = first;
    for (int i = 0; i < 10; ++i)
        second.prompt.push_back(token_of("x"));
    second.prompt.push_back(7);
    ASSERT_TRUE(p.submit(2, second));
    p.drain();
    EXPECT_EQ(p.told[2].usage.cached_tokens, 59U);  // the last token was never fed
    EXPECT_EQ(p.scheduler.kept_sequences(), 1U);    // the longer one replaces the shorter
    p.expect_idle();
}

TEST(SchedulerPrefix, TheLastTokenOfAPromptIsAlwaysFed) {
    Pipeline p(wide());
    const GenerationRequest request = ask(1000, 40, 3);
    ASSERT_TRUE(p.submit(1, request));
    p.drain();
    ASSERT_TRUE(p.submit(2, request));
    p.drain();
    EXPECT_EQ(p.told[2].usage.cached_tokens, 39U);
    EXPECT_EQ(p.told[2].choices.at(0).text, "xxx");
    p.expect_idle();
}

TEST(SchedulerPrefix, TenantsShareNothing) {
    Pipeline p(wide());
    GenerationRequest request = ask(1000, 40, 3);
    request.tenant = TenantId(1);
    ASSERT_TRUE(p.submit(1, request));
    p.drain();
    request.tenant = TenantId(2);
    ASSERT_TRUE(p.submit(2, request));
    p.drain();
    EXPECT_EQ(p.told[2].usage.cached_tokens, 0U);
    for (const auto& batch : p.sent) {
        for (const auto& operation : batch.operations)
            EXPECT_NE(operation.kind, OperationKind::kFork);
    }
    request.tenant = TenantId(1);
    ASSERT_TRUE(p.submit(3, request));
    p.drain();
    EXPECT_EQ(p.told[3].usage.cached_tokens, 39U);
    p.expect_idle();
}

TEST(SchedulerPrefix, WhoComesDuringThePromptWaitsForIt) {
    Pipeline p(wide());
    const GenerationRequest request = ask(1000, 1000, 3);
    for (std::uint64_t id = 1; id <= 3; ++id)
        ASSERT_TRUE(p.submit(id, request));
    p.drain();
    EXPECT_EQ(p.scheduler.counters().rows_prefilled, 1002U);
    EXPECT_EQ(p.told[2].usage.cached_tokens, 999U);
    EXPECT_EQ(p.told[3].usage.cached_tokens, 999U);
    p.expect_idle();
}

TEST(SchedulerPrefix, WhatIsKeptGivesWayToWhoRuns) {
    PipelineLimits l = wide();
    l.kv_pages = 128;
    Pipeline p(l);
    for (std::uint64_t id = 1; id <= 6; ++id) {
        ASSERT_TRUE(p.submit(id, ask(static_cast<TokenId>(700 * id), 600, 4)));
        p.drain();
    }
    EXPECT_GT(p.scheduler.counters().evictions, 0U);
    EXPECT_EQ(p.scheduler.counters().pauses, 0U);
    EXPECT_LE(p.scheduler.kept_pages(), 128U);
    // The last one is there as a whole.
    ASSERT_TRUE(p.submit(7, ask(700 * 6, 600, 4)));
    p.drain();
    EXPECT_EQ(p.told[7].usage.cached_tokens, 599U);
    p.expect_idle();
}

TEST(SchedulerPrefix, TheNumberOfKeptSequencesIsBounded) {
    Pipeline p(wide(), {.kept_sequences = 3});
    for (std::uint64_t id = 1; id <= 6; ++id) {
        ASSERT_TRUE(p.submit(id, ask(static_cast<TokenId>(100 * id), 20, 2)));
        p.drain();
        EXPECT_LE(p.scheduler.kept_sequences(), 3U);
    }
    ASSERT_TRUE(p.submit(7, ask(100, 20, 2)));  // the first is gone
    ASSERT_TRUE(p.submit(8, ask(600, 20, 2)));
    p.drain();
    EXPECT_EQ(p.told[7].usage.cached_tokens, 0U);
    EXPECT_EQ(p.told[8].usage.cached_tokens, 19U);
    p.expect_idle();
}

TEST(SchedulerPrefix, RowsOfACancelledRequestAreNotKeptBeforeTheyAreComputed) {
    PipelineLimits l = wide();
    Pipeline p(l, {.prefill_chunk = 32});
    const GenerationRequest request = ask(1000, 96, 3);
    ASSERT_TRUE(p.submit(1, request));
    p.answer();  // some rows are computed, others are under way
    ASSERT_GT(p.in_flight.size(), 0U);
    p.cancel(1);
    ASSERT_EQ(p.cancels.size(), 1U);
    ASSERT_TRUE(p.submit(2, request));
    p.drain();
    EXPECT_EQ(p.told[2].usage.cached_tokens, p.sent[0].rows.size());
    p.expect_idle();
}

TEST(SchedulerPrefix, RowsThatOthersShareAreNotMadeJunk) {
    PipelineLimits l = wide();
    // Rows are cheap: the prompt goes in one batch, and two batches are in flight.
    l.costs = {l.stages, {.curve = CostCurve(50ms, 10us)}};
    Pipeline p(l);
    const GenerationRequest request = ask(1000, 60, 9);
    ASSERT_TRUE(p.submit(1, request));
    ASSERT_TRUE(p.submit(2, request));  // forks from the first before its rows are computed
    ASSERT_EQ(p.scheduler.counters().rows_from_cache, 59U);
    p.cancel(1);
    EXPECT_TRUE(p.cancels.empty());
    p.drain();
    EXPECT_EQ(p.told[2].choices.at(0).text, std::string(9, 'x'));
    p.expect_idle();
}

// ------------------------------------------------------------------------------------ expectations

TEST(SchedulerWait, GrowsWithWhatWaits) {
    PipelineLimits l = wide();
    l.slots = 2;
    Pipeline p(l);
    EXPECT_EQ(p.scheduler.expected_wait().count(), 0);
    auto last = p.scheduler.expected_wait();
    for (std::uint64_t id = 1; id <= 5; ++id) {
        ASSERT_TRUE(p.submit(id, ask(static_cast<TokenId>(500 * id), 300, 20)));
        EXPECT_GT(p.scheduler.expected_wait(), last) << id;
        last = p.scheduler.expected_wait();
    }
    p.drain();
    EXPECT_EQ(p.scheduler.expected_wait().count(), 0);
    p.stop({ErrorCode::kPeerLost, "gone"});
    EXPECT_EQ(p.scheduler.expected_wait().count(), 0);
}

}  // namespace
}  // namespace potluck::coordinator
