// A pipeline is lost in the middle of answers, and another one comes.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/coordinator/support.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const PipelineLimits kLimits{.stages = 2,
                             .max_in_flight = 2,
                             .max_batch_rows = 8,
                             .kv_pages = 32,
                             .page_tokens = 4,
                             .context = 32,
                             .slots = 4};

GenerationRequest ask(std::size_t prompt, std::uint32_t max_tokens, std::uint32_t n = 1) {
    GenerationRequest request{.n = n, .max_tokens = max_tokens};
    for (std::size_t i = 0; i < prompt; ++i)
        request.prompt.push_back(static_cast<TokenId>(100 + i));
    return request;
}

/// Another letter at every position, which depends on the token there.
TokenId letter_after(const Row& row) {
    static const auto letters = [] {
        std::vector<TokenId> all;
        for (char c = 'a'; c <= 'z'; ++c)
            all.push_back(token_of(std::string(1, c)));
        return all;
    }();
    const auto mixed = static_cast<std::size_t>(row.token) * 31 + row.position * 7;
    return letters[mixed % letters.size()];
}

void ask_all(Pipeline& p) {
    p.next_token = letter_after;
    ASSERT_TRUE(p.submit(1, ask(3, 12)));
    ASSERT_TRUE(p.submit(2, ask(9, 8, 2)));
    ASSERT_TRUE(p.submit(3, ask(5, 9)));
    ASSERT_TRUE(p.submit(4, ask(2, 5)));  // waits for a slot
}

std::map<std::uint64_t, std::string> texts(const Pipeline& p) {
    std::map<std::uint64_t, std::string> all;
    for (const auto& [id, told] : p.told) {
        EXPECT_EQ(told.endings, 1) << "request " << id;
        EXPECT_FALSE(told.error) << told.error->message;
        for (const auto& [choice, said] : told.choices)
            all[id] += said.text + "|";
        all[id] += fmt::format("{}+{}", told.usage.prompt_tokens, told.usage.completion_tokens);
    }
    return all;
}

PipelineLimits with(KeptPages kept) {
    PipelineLimits limits = kLimits;
    limits.kept = kept;
    return limits;
}

// Whenever it comes, and whatever the next pipeline is like.
TEST(SchedulerLoss, AnswersGoOnAsIfNothingHadHappened) {
    Pipeline undisturbed(kLimits, {.prefill_chunk = 3});
    ask_all(undisturbed);
    undisturbed.drain();
    const auto expected = texts(undisturbed);
    PipelineLimits small = kLimits;
    small.stages = 1;
    small.max_in_flight = 1;
    small.max_batch_rows = 4;
    small.kv_pages = 10;
    std::uint64_t recomputed = 0;
    for (int losing = 0;; ++losing) {
        Pipeline p(kLimits, {.prefill_chunk = 3});
        ask_all(p);
        bool idle = false;
        for (int i = 0; i < losing && !idle; ++i)
            idle = !p.answer();
        if (idle) break;
        p.lose();
        EXPECT_FALSE(p.scheduler.running());
        EXPECT_EQ(p.scheduler.in_flight(), 0U);
        p.restart(small);
        // Lost again at once.
        p.answer();
        p.lose();
        p.restart(losing % 2 == 0 ? kLimits : small);
        p.drain();
        EXPECT_EQ(texts(p), expected) << "lost after " << losing << " batches";
        p.expect_idle();
        EXPECT_EQ(p.scheduler.counters().losses, 2U);
        EXPECT_LE(p.scheduler.counters().rows_recomputed, p.scheduler.counters().rows_replayed);
        recomputed += p.scheduler.counters().rows_recomputed;
    }
    EXPECT_GT(recomputed, 100U);
}

TEST(SchedulerLoss, ExactlyWhatWasFedIsFedAgain) {
    Pipeline p(kLimits);
    p.next_token = letter_after;
    ASSERT_TRUE(p.submit(1, ask(6, 8)));
    while (p.told[1].choices[0].tokens.size() < 3)
        ASSERT_TRUE(p.answer());
    // The prompt and three tokens, the last of which was on its way.
    p.lose();
    p.restart(kLimits);
    p.drain();
    EXPECT_EQ(p.scheduler.counters().rows_recomputed, 9U);
    EXPECT_EQ(p.scheduler.counters().rows_prefilled, 6U);
    p.expect_idle();
}

// The same with stages that keep what they can, whatever the second loss leaves of it.
TEST(SchedulerLoss, AnswersGoOnWithWhatStagesKept) {
    Pipeline undisturbed(kLimits, {.prefill_chunk = 3});
    ask_all(undisturbed);
    undisturbed.drain();
    const auto expected = texts(undisturbed);
    std::map<KeptPages, std::uint64_t> recomputed;
    for (const auto kept : {KeptPages::kNone, KeptPages::kLater, KeptPages::kAll}) {
        for (const auto then : {KeptPages::kNone, KeptPages::kLater, KeptPages::kAll}) {
            for (int losing = 0;; ++losing) {
                Pipeline p(kLimits, {.prefill_chunk = 3});
                ask_all(p);
                bool idle = false;
                for (int i = 0; i < losing && !idle; ++i)
                    idle = !p.answer();
                if (idle) break;
                p.lose();
                p.restart(with(kept));
                for (int i = 0; i < losing % 4; ++i)
                    p.answer();
                p.lose();
                p.restart(with(then));
                p.drain();
                EXPECT_EQ(texts(p), expected) << "lost after " << losing << " batches";
                p.expect_idle();
                if (kept == then) recomputed[kept] += p.scheduler.counters().rows_recomputed;
            }
        }
    }
    EXPECT_LT(recomputed[KeptPages::kAll], recomputed[KeptPages::kNone]);
}

// The prompt and three tokens are there, the row of the last one is under way.
TEST(SchedulerLoss, RowsThatAreFedAgainAreTheFewest) {
    struct Case {
        KeptPages kept;
        std::uint64_t recomputed, refilled, rows_kept;
    };
    for (const auto& c : {Case{KeptPages::kNone, 9, 0, 0}, Case{KeptPages::kLater, 9, 8, 0},
                          Case{KeptPages::kAll, 1, 0, 8}}) {
        Pipeline p(kLimits);
        p.next_token = letter_after;
        ASSERT_TRUE(p.submit(1, ask(6, 8)));
        while (p.told[1].choices[0].tokens.size() < 3)
            ASSERT_TRUE(p.answer());
        p.lose();
        const auto kept = p.scheduler.kept();
        ASSERT_EQ(kept.size(), 1U);
        EXPECT_EQ(kept[0].positions, 8U);
        p.restart(with(c.kept));
        p.drain();
        const auto counters = p.scheduler.counters();
        EXPECT_EQ(counters.rows_recomputed, c.recomputed);
        EXPECT_EQ(counters.rows_refilled, c.refilled);
        EXPECT_EQ(counters.rows_kept, c.rows_kept);
        p.expect_idle();
    }
}

TEST(SchedulerLoss, NothingIsKeptOfWhatNoStageIsKnownToHave) {
    Pipeline p(kLimits, {.prefill_chunk = 3});
    ASSERT_TRUE(p.submit(1, ask(9, 4)));
    p.lose();
    EXPECT_TRUE(p.scheduler.kept().empty());
    p.restart(kLimits);
    p.answer();
    p.lose();
    const auto kept = p.scheduler.kept();
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_EQ(kept[0].positions, 3U);
    // What was to be kept and was not known to be fed again by the next loss is kept no more.
    p.restart(with(KeptPages::kLater));
    p.lose();
    EXPECT_TRUE(p.scheduler.kept().empty());
    p.restart(kLimits);
    p.drain();
    p.expect_idle();
}

TEST(SchedulerLoss, StagesLetGoOfWhatNobodyWantsAnyMore) {
    for (const auto kept : {KeptPages::kLater, KeptPages::kAll}) {
        Pipeline p(kLimits);
        ASSERT_TRUE(p.submit(1, ask(9, 20)));
        ASSERT_TRUE(p.submit(2, ask(6, 9)));
        for (int i = 0; i < 4; ++i)
            p.answer();
        p.lose();
        EXPECT_EQ(p.scheduler.kept().size(), 2U);
        p.cancel(1);
        p.restart(with(kept));
        p.drain();
        EXPECT_FALSE(p.told[2].error);
        p.expect_idle();
    }
}

// What a stage computes again goes where it was: a page that somebody shares meanwhile would be
// copied by the row behind, before that.
TEST(SchedulerLoss, NobodySharesPagesThatAreBeingFedAgain) {
    std::size_t shared = 0;
    for (const std::size_t chunk : {2U, 3U, 5U}) {
        for (std::uint32_t n : {1U, 2U}) {
            Pipeline p(kLimits, {.prefill_chunk = chunk, .least_shared = 1});
            p.next_token = letter_after;
            ASSERT_TRUE(p.submit(1, ask(10, 12, n)));
            while (p.told[1].choices[0].tokens.size() < 3)
                ASSERT_TRUE(p.answer());
            p.lose();
            const auto kept = p.scheduler.kept();
            ASSERT_FALSE(kept.empty());
            ASSERT_TRUE(p.submit(2, ask(10, 4)));
            p.restart(with(KeptPages::kLater));
            p.drain();
            std::map<SeqId, std::size_t> fed;
            for (const Batch& batch : p.sent) {
                for (const auto& operation : batch.operations) {
                    if (operation.kind != OperationKind::kFork) continue;
                    ++shared;
                    for (const auto& one : kept) {
                        if (one.seq != operation.source) continue;
                        EXPECT_GE(fed[one.seq], one.positions) << "batch " << batch.id.value;
                    }
                }
                for (const Row& row : batch.rows)
                    fed[row.seq] = row.position + 1;
            }
            p.expect_idle();
        }
    }
    EXPECT_GT(shared, 3U);
}

TEST(SchedulerLoss, StagesLetGoOfWhatNobodyHadThePatienceFor) {
    Pipeline p(kLimits, {.patience = 10s});
    ASSERT_TRUE(p.submit(1, ask(9, 20)));
    for (int i = 0; i < 4; ++i)
        p.answer();
    p.lose(100s);
    EXPECT_EQ(p.scheduler.kept().size(), 1U);  // that is what stages are told to keep
    p.give_up_after(110s);
    EXPECT_EQ(p.told[1].endings, 1);
    p.restart(with(KeptPages::kLater));
    ASSERT_TRUE(p.submit(2, ask(3, 2)));
    p.drain();
    EXPECT_EQ(p.operations[OperationKind::kRelease].size(), 2U);
    p.expect_idle();
}

// With as few pages as can be, a kept sequence must give way like any other.
TEST(SchedulerLoss, KeptPagesAreGivenBackWhenOthersNeedThem) {
    PipelineLimits few = kLimits;
    few.kv_pages = 9;
    for (const auto kept : {KeptPages::kLater, KeptPages::kAll}) {
        few.kept = kept;
        Pipeline p(few, {.growth_tokens = 4});
        p.next_token = letter_after;
        ASSERT_TRUE(p.submit(1, ask(4, 24)));
        ASSERT_TRUE(p.submit(2, ask(5, 24)));
        ASSERT_TRUE(p.submit(3, ask(6, 24)));
        for (int i = 0; i < 14; ++i)
            p.answer();
        p.lose();
        p.restart(few);
        p.drain();
        for (std::uint64_t id = 1; id <= 3; ++id)
            EXPECT_EQ(p.told[id].usage.completion_tokens, 24U);
        EXPECT_GT(p.scheduler.counters().pauses, 0U);
        p.expect_idle();
    }
}

TEST(SchedulerLoss, AChangeThatIsPlannedIsNoLoss) {
    Pipeline p(kLimits);
    p.scheduler.suspend(true);
    EXPECT_TRUE(p.scheduler.suspended());
    EXPECT_EQ(p.scheduler.counters().losses, 0U);
    p.restart(kLimits);
    p.lose();
    EXPECT_EQ(p.scheduler.counters().losses, 1U);
}

TEST(SchedulerLoss, RequestsAreTakenMeanwhileUpToTheQueueLimit) {
    Pipeline p(kLimits, {.queue_limit = 2});
    p.next_token = letter_after;
    p.lose();
    EXPECT_TRUE(p.scheduler.suspended());
    ASSERT_TRUE(p.submit(1, ask(3, 2)));
    ASSERT_TRUE(p.submit(2, ask(3, 2)));
    EXPECT_EQ(p.submit(3, ask(3, 2)).error().code, ErrorCode::kResourceExhausted);
    EXPECT_EQ(p.submit(4, ask(40, 2)).error().code, ErrorCode::kInvalidArgument);
    p.cancel(1);
    ASSERT_TRUE(p.submit(5, ask(4, 3)));
    EXPECT_TRUE(p.sent.empty());
    p.restart(kLimits);
    p.drain();
    EXPECT_EQ(p.told[2].usage.completion_tokens, 2U);
    EXPECT_EQ(p.told[5].usage.completion_tokens, 3U);
    p.expect_idle();
}

TEST(SchedulerLoss, PatienceEnds) {
    Pipeline p(kLimits, {.patience = 10s});
    ASSERT_TRUE(p.submit(1, ask(3, 20)));
    p.answer();
    p.give_up_after(100s);  // a pipeline is there
    EXPECT_EQ(p.told[1].endings, 0);
    p.lose(100s);
    ASSERT_TRUE(p.submit(2, ask(3, 2)));
    p.give_up_after(110s - 1ns);
    EXPECT_EQ(p.told[1].endings + p.told[2].endings, 0);
    p.give_up_after(110s);
    for (const std::uint64_t id : {1U, 2U}) {
        ASSERT_TRUE(p.told[id].error);
        EXPECT_EQ(p.told[id].error->code, ErrorCode::kPeerLost);
        EXPECT_THAT(p.told[id].error->message, HasSubstr("within 10 s (loading 3 %)"));
    }
    EXPECT_EQ(p.submit(3, ask(3, 2)).error().code, ErrorCode::kPeerLost);
    p.restart(kLimits);
    ASSERT_TRUE(p.submit(4, ask(3, 2)));
    p.drain();
    EXPECT_FALSE(p.told[4].error);
    p.expect_idle();
}

TEST(SchedulerLoss, CancelledOnesDoNotComeBack) {
    Pipeline p(kLimits);
    p.next_token = letter_after;
    ASSERT_TRUE(p.submit(1, ask(3, 20)));
    ASSERT_TRUE(p.submit(2, ask(4, 3)));
    p.answer();
    p.lose();
    p.cancel(1);
    p.restart(kLimits);
    p.drain();
    EXPECT_FALSE(p.told[2].error);
    EXPECT_EQ(p.told[2].usage.completion_tokens, 3U);
    EXPECT_TRUE(p.cancels.empty());
    p.expect_idle();
}

TEST(SchedulerLoss, AResultThatComesLateIsRefusedAndHarmless) {
    Pipeline p(kLimits);
    p.next_token = letter_after;
    ASSERT_TRUE(p.submit(1, ask(3, 4)));
    const StepResult late = p.execute();
    p.lose();
    EXPECT_FALSE(p.give(late));
    p.restart(kLimits);
    p.drain();
    EXPECT_EQ(p.told[1].usage.completion_tokens, 4U);
    p.expect_idle();
}

struct Smaller {
    const char* name;
    void (*shrink)(PipelineLimits& limits);
    const char* message;
};
class SmallerPipelines : public ::testing::TestWithParam<Smaller> {};

// The large request, once while it runs and once while it waits, cannot go on; the small one does.
TEST_P(SmallerPipelines, EndWhatCannotFit) {
    for (const bool waits : {false, true}) {
        Pipeline p(kLimits);
        p.next_token = letter_after;
        if (!waits) {
            ASSERT_TRUE(p.submit(1, ask(10, 18, 3)));
        }
        ASSERT_TRUE(p.submit(2, ask(3, 6)));
        for (int i = 0; i < 5; ++i)
            p.answer();
        p.lose();
        if (waits) {
            ASSERT_TRUE(p.submit(1, ask(10, 18, 3)));
        }
        PipelineLimits limits = kLimits;
        GetParam().shrink(limits);
        p.restart(limits);
        p.drain();
        ASSERT_TRUE(p.told[1].error);
        EXPECT_EQ(p.told[1].endings, 1);
        EXPECT_EQ(p.told[1].error->code, ErrorCode::kPeerLost);
        EXPECT_THAT(p.told[1].error->message, HasSubstr(GetParam().message));
        EXPECT_FALSE(p.told[2].error);
        EXPECT_EQ(p.told[2].usage.completion_tokens, 6U);
        p.expect_idle();
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, SmallerPipelines,
    ::testing::Values(Smaller{"Context", [](PipelineLimits& l) { l.context = 27; },
                              "a context of 27 tokens, the request may need 28"},
                      Smaller{"Slots", [](PipelineLimits& l) { l.slots = 2; }, "has 2 slots"},
                      Smaller{"Pages", [](PipelineLimits& l) { l.kv_pages = 16; },
                              "has 16 KV pages of 4 tokens, the request may need 17"}),
    [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace potluck::coordinator
