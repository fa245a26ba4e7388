// Drafted rows, one behaviour at a time; tests/sim throws them at everything else at once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/core/plan.h"
#include "tests/support/fake_speculation.h"
#include "tests/unit/coordinator/timed_pipeline.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::size_t kPrompt = 4;

/// What the model says at each position of an answer.
TokenId true_token(std::uint32_t position) {
    static const std::vector<TokenId> letters = {token_of("a"), token_of("b"), token_of("c"),
                                                 token_of("d"), token_of("e")};
    return letters[position % letters.size()];
}

PipelineLimits limits_of(std::size_t stages, std::size_t pages = 64) {
    return {.stages = stages,
            .max_in_flight = most_in_flight(stages),
            .max_batch_rows = 16,
            .kv_pages = pages,
            .page_tokens = 4,
            .context = 64,
            .slots = 4,
            .costs = {stages, {.curve = CostCurve(10ms, 10us)}}};
}

GenerationRequest ask(std::uint32_t max_tokens, std::string speculation = "drafts") {
    GenerationRequest request{.max_tokens = max_tokens, .speculation = std::move(speculation)};
    for (std::size_t i = 0; i < kPrompt; ++i)
        request.prompt.push_back(static_cast<TokenId>(100 + i));
    return request;
}

/// A pipeline whose answers depend on all tokens before, and drafts that know them.
struct Drafted {
    Drafted(const PipelineLimits& limits, const FakeDraftOptions& options,
            const SchedulerOptions& scheduler = {})
        : p(limits, scheduler,
            std::make_unique<FakeSpeculation>(
                options,
                [](const std::string&, std::uint32_t) {
                    std::vector<TokenId> tokens;
                    for (std::uint32_t i = 0; i < 60; ++i)
                        tokens.push_back(true_token(kPrompt + i));
                    return tokens;
                },
                log)) {
        p.next_token = [](const Row& row) {
            const bool sound = row.position < kPrompt || row.token == true_token(row.position);
            return sound ? true_token(row.position + 1) : token_of("z");
        };
    }
    /// Until request 1 decodes.
    void begin(GenerationRequest request) {
        ASSERT_TRUE(p.submit(1, std::move(request)));
        ASSERT_TRUE(p.answer());
    }
    void expect_answer(std::uint64_t id, std::size_t tokens) {
        std::string text;
        for (std::uint32_t i = 0; i < tokens; ++i)
            text += bundled_tokenizer()->piece(true_token(kPrompt + i));
        EXPECT_EQ(p.told[id].choices.at(0).text, text);
        EXPECT_EQ(p.told[id].usage.completion_tokens, tokens);
        EXPECT_THAT(log->problems, ElementsAre());
        EXPECT_EQ(log->begun, log->ended);
    }

    std::shared_ptr<FakeDraftLog> log = std::make_shared<FakeDraftLog>();
    Pipeline p;
};

std::vector<std::uint32_t> positions(const Batch& batch) {
    std::vector<std::uint32_t> all;
    for (const auto& row : batch.rows)
        all.push_back(row.position);
    return all;
}

/// Fixed length: the fake draws lengths from 1 to `longest`; 1 is always 1.
FakeDraftOptions one_by_one(double right) {
    return {.right = right, .ahead = 1, .longest = 1};
}

TEST(Drafts, ThatAreRightComeInOneBatchBehindTheCertainRow) {
    Drafted d(limits_of(1), {.right = 1, .longest = 6});
    d.begin(ask(20));
    const Batch& batch = d.p.sent.back();
    ASSERT_GT(batch.rows.size(), 1U);
    EXPECT_EQ(batch.rows[0].flags, kRowSample);
    EXPECT_EQ(batch.rows[0].position, kPrompt);
    for (std::size_t i = 1; i < batch.rows.size(); ++i) {
        EXPECT_EQ(batch.rows[i].flags, kRowSample | kRowSpeculative);
        EXPECT_EQ(batch.rows[i].position, kPrompt + i);
        EXPECT_EQ(batch.rows[i].token, true_token(batch.rows[i].position));
    }
    d.p.drain();
    d.expect_answer(1, 20);
    EXPECT_LT(d.p.sent.size(), 15U);
    EXPECT_TRUE(d.p.cancels.empty());
    const auto counters = d.p.scheduler.counters();
    EXPECT_EQ(counters.rows_drafted, counters.rows_accepted);
    EXPECT_EQ(counters.rows_decoded + counters.rows_accepted, 19U);
    ASSERT_TRUE(d.p.told[1].usage.speculation);
    EXPECT_EQ(d.p.told[1].usage.speculation->accepted, counters.rows_accepted);
    EXPECT_EQ(d.p.told[1].usage.speculation->arm, "fake");
    d.p.expect_idle();
}

/// What the stages wait for comes first: writing to clients takes longer than all the scheduler
/// does.
TEST(Drafts, TheNextBatchLeavesBeforeTheTokensAreTold) {
    Drafted d(limits_of(1), {.right = 1, .longest = 6});
    d.begin(ask(20));
    std::size_t most = 0;
    for (int i = 0; i < 3; ++i) {
        SchedulerActions actions;
        ASSERT_TRUE(d.p.scheduler.on_result(d.p.execute(), actions));
        ASSERT_GE(actions.size(), 2U);
        const auto* batch = std::get_if<SendBatch>(&actions[0]);
        ASSERT_TRUE(batch != nullptr);
        for (std::size_t k = 1; k < actions.size(); ++k)
            EXPECT_TRUE(std::holds_alternative<EmitDelta>(actions[k]));
        most = std::max(most, actions.size() - 1);
        d.p.in_flight.push_back(batch->batch);
    }
    EXPECT_GT(most, 1U);
}

TEST(Drafts, ACancelLeavesBeforeTheBatchThatTakesItsPlace) {
    Drafted d(limits_of(4), one_by_one(0));
    d.begin(ask(20));
    SchedulerActions actions;
    ASSERT_GT(d.p.in_flight.size(), 1U);  // jobs ahead, all of them wrong
    ASSERT_TRUE(d.p.scheduler.on_result(d.p.execute(), actions));
    ASSERT_GE(actions.size(), 3U);
    EXPECT_TRUE(std::holds_alternative<SendCancel>(actions[0]));
    EXPECT_TRUE(std::holds_alternative<SendBatch>(actions[1]));
    EXPECT_TRUE(std::holds_alternative<EmitDelta>(actions.back()));
}

TEST(Drafts, ThatAreWrongAreTakenBackBeforeTheNextRow) {
    Drafted d(limits_of(1), {.right = 0, .longest = 1});
    d.begin(ask(5));
    EXPECT_THAT(positions(d.p.sent.back()), ElementsAre(kPrompt, kPrompt + 1));
    ASSERT_TRUE(d.p.answer());
    const Batch& next = d.p.sent.back();
    ASSERT_EQ(next.operations.size(), 1U);
    EXPECT_EQ(next.operations[0].kind, OperationKind::kTruncate);
    EXPECT_EQ(next.operations[0].length, kPrompt + 1);
    EXPECT_THAT(positions(next), ElementsAre(kPrompt + 1, kPrompt + 2));
    EXPECT_EQ(next.rows[0].generation, 1U);
    EXPECT_EQ(next.rows[0].flags, kRowSample);
    d.p.drain();
    d.expect_answer(1, 5);
    EXPECT_TRUE(d.p.cancels.empty());  // their samples were in the same result
    EXPECT_EQ(d.p.scheduler.counters().rows_accepted, 0U);
    d.p.expect_idle();
}

TEST(Drafts, RowBehindAWrongOneIsNotTakenForTheNextToken) {
    // Draws are fixed: some drafts are right up to some row and wrong from there on.
    Drafted d(limits_of(1), {.seed = 3, .right = 0.6, .longest = 6});
    d.begin(ask(40));
    d.p.drain();
    d.expect_answer(1, 40);
    const auto counters = d.p.scheduler.counters();
    EXPECT_GT(counters.rows_accepted, 5U);
    EXPECT_GT(counters.rows_drafted, counters.rows_accepted + 5);
    d.p.expect_idle();
}

TEST(Drafts, GoAheadOneByOneUntilThePipelineIsFull) {
    Drafted d(limits_of(3), one_by_one(1));
    d.begin(ask(12));
    ASSERT_EQ(d.p.in_flight.size(), 3U);  // three stages: three jobs
    EXPECT_THAT(positions(d.p.in_flight[0]), ElementsAre(kPrompt));
    EXPECT_THAT(positions(d.p.in_flight[1]), ElementsAre(kPrompt + 1));
    EXPECT_THAT(positions(d.p.in_flight[2]), ElementsAre(kPrompt + 2));
    EXPECT_EQ(d.p.in_flight[2].rows[0].flags, kRowSample | kRowSpeculative);
    ASSERT_TRUE(d.p.answer());
    EXPECT_THAT(positions(d.p.in_flight.back()), ElementsAre(kPrompt + 3));
    d.p.drain();
    d.expect_answer(1, 12);
    EXPECT_TRUE(d.p.cancels.empty());
    EXPECT_EQ(d.log->rounds_together, 0U);
    EXPECT_EQ(d.p.scheduler.counters().rows_decoded, 1U);
    // The row of the last token is never fed.
    EXPECT_EQ(d.p.scheduler.counters().rows_accepted, 10U);
    d.p.expect_idle();
}

class DraftsAhead : public ::testing::TestWithParam<bool> {};

TEST_P(DraftsAhead, ThatAreWrongAreCancelledAndTheirResultsMeanNothing) {
    Drafted d(limits_of(3), one_by_one(0));
    d.p.skips_junk = GetParam();
    d.begin(ask(6));
    ASSERT_EQ(d.p.in_flight.size(), 3U);
    ASSERT_TRUE(d.p.answer());
    ASSERT_EQ(d.p.cancels.size(), 1U);
    EXPECT_EQ(d.p.cancels[0].generation, 1U);
    const auto& certain =
        *std::find_if(d.p.in_flight.begin(), d.p.in_flight.end(),
                      [](const auto& b) { return (b.rows[0].flags & kRowSpeculative) == 0; });
    EXPECT_THAT(positions(certain), ElementsAre(kPrompt + 1));
    EXPECT_EQ(certain.rows[0].generation, 1U);
    ASSERT_FALSE(certain.operations.empty());
    EXPECT_EQ(certain.operations[0].kind, OperationKind::kTruncate);
    d.p.drain();
    d.expect_answer(1, 6);
    EXPECT_EQ(d.p.scheduler.counters().rows_accepted, 0U);
    d.p.expect_idle();
}
INSTANTIATE_TEST_SUITE_P(Junk, DraftsAhead, ::testing::Bool());

TEST(Drafts, AreCutWhereTheAnswerEnds) {
    for (const double ahead : {0.0, 1.0}) {
        for (std::uint32_t most = 1; most <= 8; ++most) {
            Drafted d(limits_of(3), {.right = 1, .ahead = ahead, .longest = 10});
            d.begin(ask(most));
            d.p.drain();
            d.expect_answer(1, most);
            for (const auto& batch : d.p.sent) {
                for (const auto& row : batch.rows)
                    EXPECT_LE(row.position + 2, kPrompt + most) << most << " tokens";
            }
            d.p.expect_idle();
        }
    }
}

TEST(Drafts, AStopStringEndsTheAnswerInTheMiddleOfThem) {
    for (const double ahead : {0.0, 1.0}) {
        Drafted d(limits_of(3), {.right = 1, .ahead = ahead, .longest = 10});
        auto request = ask(30);
        // The tokens at positions 6 and 7 of the text: the third and fourth of the answer.
        request.stop = {std::string(bundled_tokenizer()->piece(true_token(6))) +
                        std::string(bundled_tokenizer()->piece(true_token(7)))};
        d.begin(request);
        d.p.drain();
        EXPECT_EQ(d.p.told[1].choices.at(0).finished, FinishReason::kStop);
        EXPECT_EQ(d.p.told[1].usage.completion_tokens, 4U);
        EXPECT_THAT(d.log->problems, ElementsAre());
        EXPECT_EQ(d.log->begun, d.log->ended);
        d.p.expect_idle();
    }
}

TEST(Drafts, WaitWhileSomebodyElsesPromptIsFed) {
    PipelineLimits limits = limits_of(1);
    limits.max_in_flight = 1;
    Drafted d(limits, {.right = 1, .longest = 4}, {.prefill_chunk = 3});
    d.begin(ask(40));
    auto other = ask(2, "off");
    other.prompt.assign(12, TokenId{7});
    ASSERT_TRUE(d.p.submit(2, other));
    d.p.drain();
    int beside = 0;
    for (const auto& batch : d.p.sent) {
        const auto& rows = batch.rows;
        if (std::none_of(rows.begin(), rows.end(), [](const Row& row) { return row.token == 7; }))
            continue;
        ++beside;
        EXPECT_TRUE(std::all_of(rows.begin(), rows.end(),
                                [](const Row& row) { return (row.flags & kRowSpeculative) == 0; }))
            << "batch " << batch.id.value;
    }
    EXPECT_EQ(beside, 4);
    EXPECT_GT(d.p.scheduler.counters().rows_accepted, 10U);
    EXPECT_EQ(d.p.told[1].usage.completion_tokens, 40U);
    d.p.expect_idle();
}

TEST(Drafts, TakeNoPageFromAnybody) {
    // Two sequences that at their longest fill all pages but one.
    for (const double ahead : {0.0, 1.0}) {
        Drafted d(limits_of(3, 9), {.right = 0.5, .ahead = ahead, .longest = 12},
                  {.kept_sequences = 0, .growth_tokens = 2});
        ASSERT_TRUE(d.p.submit(1, ask(12)));
        ASSERT_TRUE(d.p.submit(2, ask(12)));
        d.p.drain();
        d.expect_answer(1, 12);
        d.expect_answer(2, 12);
        EXPECT_EQ(d.p.scheduler.counters().pauses, 0U);
        EXPECT_GT(d.p.scheduler.counters().rows_drafted, 0U);
        d.p.expect_idle();
    }
}

TEST(Drafts, OfACancelledRequestAreNotKept) {
    for (const double right : {0.0, 1.0}) {
        for (int answers = 1; answers < 8; ++answers) {
            Drafted d(limits_of(3), one_by_one(right), {.least_shared = 1});
            d.begin(ask(20));
            for (int i = 1; i < answers; ++i)
                ASSERT_TRUE(d.p.answer());
            d.p.cancel(1);
            EXPECT_EQ(d.log->begun, d.log->ended);
            d.p.drain();
            // The same again begins with what was certain and computed, and is right.
            ASSERT_TRUE(d.p.submit(2, ask(20)));
            d.p.drain();
            d.expect_answer(2, 20);
            d.p.expect_idle();
        }
    }
}

TEST(Drafts, AreOnlyMadeForWhoWantsThem) {
    Drafted d(limits_of(2), {.right = 1, .longest = 4});
    d.begin(ask(10, "off"));
    d.p.drain();
    ASSERT_TRUE(d.p.submit(2, ask(10, "")));  // as the cluster has it: off
    d.p.drain();
    d.expect_answer(1, 10);
    EXPECT_EQ(d.p.scheduler.counters().rows_drafted, 0U);
    EXPECT_FALSE(d.p.told[1].usage.speculation);
    const auto taken = d.p.submit(3, ask(10, "oracle"));
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(taken.error().message, HasSubstr("\"oracle\""));
    Pipeline without(limits_of(2));
    EXPECT_TRUE(without.submit(1, ask(1, "off")));
    EXPECT_FALSE(without.submit(2, ask(1, "auto")));
}

TEST(Drafts, ByTheLastStageReachTheDrafters) {
    Drafted d(limits_of(1), {.right = 0, .longest = 1, .silent = 1});
    d.begin(ask(3));
    StepResult result = d.p.execute();
    ASSERT_EQ(result.rows.size(), 1U);
    result.rows[0].n_proposed = 2;
    result.entries = {{17, 0.F}, {18, 0.F}};
    ASSERT_TRUE(d.p.give(result));
    EXPECT_THAT(d.log->from_stage, ElementsAre(17, 18));
    d.p.drain();
    d.expect_answer(1, 3);
}

// --------------------------------------------------------------------------------------- time

struct LawCase {
    std::vector<int> stages;
    double right;
};

/// Tokens per second of one stream that drafts ahead, in virtual time.
double rate(const std::vector<int>& weights, const FakeDraftOptions* drafts) {
    std::vector<StageCost> stages;
    for (const int weight : weights)
        stages.push_back({.curve = CostCurve(10ms * weight, 1us)});
    auto limits = limits_of(weights.size(), 2000);
    limits.context = 4096;
    limits.costs = stages;
    const TokenId letter = token_of("x");
    std::unique_ptr<Speculation> speculation;
    if (drafts != nullptr) {
        speculation = std::make_unique<FakeSpeculation>(
            *drafts,
            [letter](const std::string&, std::uint32_t) {
                return std::vector<TokenId>(2000, letter);
            },
            std::make_shared<FakeDraftLog>());
    }
    TimedPipeline p(stages, limits, {}, std::move(speculation));
    p.submit_at(0s, 1, ask(2000, drafts == nullptr ? "off" : "drafts"));
    p.run_until(3600s);
    const auto& times = p.clients.at(1).tokens;
    EXPECT_EQ(times.size(), 2000U);
    const std::chrono::duration<double> took = times.back() - times.front();
    return static_cast<double>(times.size() - 1) / took.count();
}

TEST(Drafts, AheadAreAsFastAsTheLawOfAFilledPipelineSays) {
    for (const auto& stages : {std::vector<int>{1, 1, 1, 1}, {1, 3, 1, 1}, {1, 1}}) {
        double sum = 0;
        double most = 0;
        for (const int weight : stages) {
            sum += weight;
            most = std::max<double>(most, weight);
        }
        const double jobs = sum / most;
        const double plain = rate(stages, nullptr);
        for (const double a : {0.0, 0.3, 0.5, 0.7, 0.9, 1.0}) {
            const auto drafts = one_by_one(a);
            const double speedup = rate(stages, &drafts) / plain;
            const double law = jobs / (jobs * (1 - a) + a);
            EXPECT_NEAR(speedup / law, 1, 0.06)
                << stages.size() << " stages, S " << jobs << ", a " << a << ": " << speedup
                << " times, the law says " << law;
        }
    }
}

}  // namespace
}  // namespace potluck::coordinator
