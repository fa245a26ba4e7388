#include "coordinator/simulate/micro_batching.h"

#include <gtest/gtest.h>

#include "coordinator/core/plan.h"

namespace potluck::simulate {
namespace {

using namespace std::chrono_literals;

PipelineModel stages(const std::vector<double>& factors, nanoseconds delay = 0ns) {
    PipelineModel model;
    for (const double factor : factors)
        model.stages.push_back(StageCost::linear(10ms, 1ms, 1000).scaled(factor));
    model.links.assign(factors.size() + 1, {.delay = delay});
    return model;
}

TEST(ConstantMicroBatching, OfOneStageIsARoundOfAll) {
    // 8 rows that read 500 keys each: 10 + 8 + 4 ms, and two links.
    const auto constant = constant_micro_batching(stages({1}, 1ms), 8, 1, 500);
    EXPECT_NEAR(constant.tokens_per_second, 8 / 0.024, 1e-6);
}

TEST(ConstantMicroBatching, OfEqualStagesKeepsAllBusy) {
    const auto model = stages({1, 1, 1, 1});
    EXPECT_NEAR(constant_micro_batching(model, 8, 4, 0).tokens_per_second, 2 / 0.012, 1e-6);
    // Fewer leave stages idle, more pay the base more often.
    EXPECT_NEAR(constant_micro_batching(model, 8, 1, 0).tokens_per_second, 8 / (4 * 0.018), 1e-6);
    EXPECT_NEAR(constant_micro_batching(model, 8, 8, 0).tokens_per_second, 1 / 0.011, 1e-6);
}

TEST(ConstantMicroBatching, OfUnequalStagesIsBoundByTheSlowest) {
    EXPECT_NEAR(constant_micro_batching(stages({1, 2, 4}), 8, 2, 0).tokens_per_second,
                8 / (2 * 4 * 0.014), 1e-6);
}

TEST(ConstantMicroBatching, UnequalBatchesSumToAllUsers) {
    // 5 and 4 and 4 rows through one stage.
    EXPECT_NEAR(constant_micro_batching(stages({1}), 13, 3, 0).tokens_per_second, 13 / 0.043, 1e-6);
}

TEST(MicroBatching, TheBestIsTheBestOfAll) {
    SimulationOptions options;
    options.pipeline = stages({1, 1, 1, 1}, 200us);
    options.limits = {.max_in_flight = 5, .slots = 1};
    const auto result = compare_micro_batching(options, {.users = 64});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->tried.size(), 14U);
    for (const auto& tried : result->tried)
        EXPECT_LE(tried.tokens_per_second, result->best.tokens_per_second);
    EXPECT_GE(result->best.micro_batches, 4U);
    // Prompts of 16, then 64 tokens until all settled and 64 that are measured.
    EXPECT_NEAR(result->keys_per_row, 16 + 64 + 32, 16);
    EXPECT_GT(result->ratio(), 0.5);
    EXPECT_LT(result->ratio(), 1.05);
}

/// Links of 1.5 ms between steps of 0.64 ms: batches wait nowhere and are on their way for long.
TEST(MicroBatching, LongLinksTakeMoreBatches) {
    SimulationOptions options;
    const auto cost = StageCost::linear(400us, 60us);
    options.pipeline = {.stages = {4, cost}, .links = {5, {.delay = 1500us}}};
    options.limits.max_in_flight = coordinator::most_in_flight(4);
    const auto result = compare_micro_batching(options, {.users = 64});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_GT(result->best.micro_batches, 10U);
    EXPECT_GT(result->ratio(), 0.99);
}

TEST(MicroBatching, AloneThereIsNothingToDecide) {
    SimulationOptions options;
    options.pipeline = stages({1, 2, 4}, 200us);
    options.limits = {.max_in_flight = 4};
    const auto result = compare_micro_batching(options, {.users = 1});
    ASSERT_TRUE(result) << result.error().message;
    EXPECT_EQ(result->tried.size(), 1U);
    EXPECT_NEAR(result->ratio(), 1, 0.001);
}

}  // namespace
}  // namespace potluck::simulate
