#include "coordinator/simulate/pipeline_model.h"

#include <gtest/gtest.h>

namespace potluck::simulate {
namespace {

using namespace std::chrono_literals;

TEST(StageCost, IsABaseAndAPricePerRowAndKey) {
    const auto cost = StageCost::linear(5ms, 50us, 2);
    EXPECT_EQ(cost.time(1, 0), 5ms + 50us);
    EXPECT_EQ(cost.time(64, 0), 5ms + 64 * 50us);
    EXPECT_EQ(cost.time(1000, 500), 5ms + 1000 * 50us + 1us);
    EXPECT_EQ(cost.time(0, 0), 0ms) << "operations alone cost nothing";
}

TEST(StageCost, FollowsItsTable) {
    const StageCost cost{.knots = {{2, 10ms}, {4, 12ms}, {8, 12ms}, {10, 16ms}}};
    EXPECT_EQ(cost.time(1, 0), 10ms) << "below the first knot";
    EXPECT_EQ(cost.time(3, 0), 11ms);
    EXPECT_EQ(cost.time(6, 0), 12ms);
    EXPECT_EQ(cost.time(9, 0), 14ms);
    EXPECT_EQ(cost.time(20, 0), 36ms) << "beyond the last";
    EXPECT_EQ(cost.scaled(2).time(9, 0), 28ms);
}

TEST(ModelledPipeline, ABatchAlonePassesEverythingOnce) {
    PipelineModel model;
    model.stages = {StageCost::linear(5ms, 1ms), StageCost::linear(10ms, 2ms)};
    model.links = {{.delay = 1ms}, {.delay = 2ms}, {.delay = 4ms}};
    ModelledPipeline pipeline(model);
    const nanoseconds back = pipeline.send(100ms, {.rows = 3, .keys = 0, .sampled = 1});
    EXPECT_EQ(back, 100ms + 1ms + 8ms + 2ms + 16ms + 4ms);
    EXPECT_EQ(back - 100ms, model.traversal(3, 0));
    EXPECT_EQ(model.bottleneck(3, 0), 16ms);
    EXPECT_EQ(pipeline.passages()[1].arrives, 111ms);
    EXPECT_EQ(pipeline.passages()[1].begins, 111ms);
    EXPECT_EQ(pipeline.passages()[1].ends, 127ms);
}

TEST(ModelledPipeline, BatchesWaitForTheSlowStageInOrder) {
    PipelineModel model;
    model.stages = {StageCost::linear(1ms, 0ns), StageCost::linear(10ms, 0ns)};
    model.links.resize(3);
    ModelledPipeline pipeline(model);
    EXPECT_EQ(pipeline.send(0ms, {1, 0, 1}), 11ms);
    EXPECT_EQ(pipeline.send(0ms, {1, 0, 1}), 21ms);
    EXPECT_EQ(pipeline.passages()[1].arrives, 2ms);
    EXPECT_EQ(pipeline.passages()[1].begins, 11ms);
    EXPECT_EQ(pipeline.send(50ms, {1, 0, 1}), 61ms) << "all idle again";
}

TEST(ModelledPipeline, ALinkSendsOneFrameAtATime) {
    PipelineModel model;
    model.stages = {StageCost::linear(0ns, 0ns), StageCost::linear(0ns, 0ns)};
    // A frame of 10 rows is 64 + 10 * (32 + 968) bytes: ten milliseconds and a little.
    model.activation_bytes = 968;
    model.links = {{}, {.delay = 5ms, .bytes_per_second = 1e6}, {}};
    const nanoseconds wire = 10ms + 64us;
    ModelledPipeline pipeline(model);
    EXPECT_EQ(pipeline.send(0ms, {10, 0, 1}), wire + 5ms);
    EXPECT_EQ(pipeline.send(0ms, {10, 0, 1}), 2 * wire + 5ms) << "the delay overlaps";
    EXPECT_EQ(model.bottleneck(10, 0), wire);
}

}  // namespace
}  // namespace potluck::simulate
