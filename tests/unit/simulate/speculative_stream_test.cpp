#include "coordinator/simulate/speculative_stream.h"

#include <gtest/gtest.h>

#include "coordinator/speculate/speculator.h"
#include "tests/support/random_text.h"

namespace potluck::simulate {
namespace {

using namespace std::chrono_literals;

/// Rows cost a whole step each, so that only jobs ahead can pay.
StreamModel stages(const std::vector<double>& factors, nanoseconds delay = 0ns) {
    StreamModel model;
    for (const double factor : factors)
        model.pipeline.stages.push_back(StageCost::linear(0ms, 10ms).scaled(factor));
    model.pipeline.links.assign(factors.size() + 1, {.delay = delay});
    return model;
}

/// One answer with the forced drafter, which saw it before.
StreamFigures forced(const StreamModel& model, const std::string& choice, std::size_t tokens) {
    auto streams =
        SpeculativeStreams::make(model, coordinator::make_speculator({.test_drafters = true}));
    EXPECT_TRUE(streams);
    const StreamTrace trace{
        .tenant = {}, .prompt = random_text(1, 30), .answer = random_text(2, tokens)};
    const auto run = streams->run(trace, choice);
    EXPECT_TRUE(run) << run.error().message;
    EXPECT_EQ(run->tokens, tokens - 1);
    return *run;
}

double law(double window, double chance) {
    return window / (window * (1 - chance) + chance);
}

TEST(SpeculativeStream, FollowsTheLawOfAFilledPipeline) {
    for (const double a : {0.0, 0.3, 0.5, 0.7, 0.9, 1.0}) {
        const auto run = forced(stages({1, 1, 1, 1}), "forced:" + std::to_string(a), 4000);
        EXPECT_NEAR(run.gain() / law(4, a), 1, 0.05) << "a = " << a << ": " << run.gain();
        std::printf("4 equal stages, a = %.1f: %.3f x, law %.3f x\n", a, run.gain(), law(4, a));
    }
}

TEST(SpeculativeStream, FollowsItWithASlowStageAndWithLinks) {
    for (const double a : {0.0, 0.3, 0.5, 0.7, 0.9, 1.0}) {
        const std::string choice = "forced:" + std::to_string(a);
        const auto slow = forced(stages({1, 3, 1, 1}), choice, 4000);
        EXPECT_NEAR(slow.gain() / law(2, a), 1, 0.05) << "a = " << a << ": " << slow.gain();
        // Five links of 2 ms beside four stages of 10 ms.
        const auto linked = forced(stages({1, 1, 1, 1}, 2ms), choice, 4000);
        EXPECT_NEAR(linked.gain() / law(5, a), 1, 0.05) << "a = " << a << ": " << linked.gain();
        std::printf("1:3:1:1, a = %.1f: %.3f x, law %.3f x; links: %.3f x, law %.3f x\n", a,
                    slow.gain(), law(2, a), linked.gain(), law(5, a));
    }
}

TEST(SpeculativeStream, RowsThatCostNothingGoTogether) {
    StreamModel model = stages({1, 1});
    for (auto& stage : model.pipeline.stages)
        stage = StageCost::linear(10ms, 100us);
    const auto run = forced(model, "forced", 1000);
    EXPECT_GT(run.gain(), 8);
    EXPECT_EQ(run.report.drafted_at.size(), 64U);
}

TEST(SpeculativeStream, WhoIsAlwaysWrongLosesNoMoreThanTheBound) {
    for (const double per_row : {0.1, 1.0, 5.0}) {
        StreamModel model = stages({1, 1});
        for (auto& stage : model.pipeline.stages)
            stage = StageCost::linear(10ms, nanoseconds(static_cast<std::int64_t>(per_row * 1e6)));
        for (const char* choice : {"forced:0", "forced:adversarial"}) {
            const auto run = forced(model, choice, 2000);
            EXPECT_GT(run.report.drafted, 0U);
            const auto bound = std::max(2 * model.pipeline.traversal(1, 0), run.took / 100);
            EXPECT_LE(run.behind, bound) << choice << " " << per_row;
        }
    }
}

// Also what cancelled jobs cost that the stages were computing: nothing is lost beside the account.
TEST(SpeculativeStream, WhatIsLostOrWonIsInTheAccount) {
    for (const double a : {0.0, 0.3, 0.6, 0.9}) {
        const auto model = stages({1, 2}, 1ms);
        const auto run = forced(model, "forced:" + std::to_string(a), 500);
        EXPECT_GT(run.report.drafted, 10U);
        EXPECT_NEAR(static_cast<double>(run.report.debt.count()),
                    static_cast<double>((run.took - run.plain).count()), 35e6)
            << "a = " << a;
    }
}

TEST(SpeculativeStream, EveryTokenIsCountedOnce) {
    const auto run = forced(stages({1, 2}, 1ms), "forced:0.6", 500);
    EXPECT_EQ(run.tokens, 499U);
    EXPECT_EQ(run.report.drafted_at.empty() ? 0 : run.report.drafted_at[0], run.report.rounds);
    EXPECT_LE(run.report.accepted, run.report.drafted);
}

}  // namespace
}  // namespace potluck::simulate
