#include "worker/core/step_times.h"

#include <gtest/gtest.h>

#include <chrono>

namespace potluck::worker {
namespace {

using std::chrono::nanoseconds;

constexpr proto::FrameRoute kRoute{Epoch(7), PipelineId(0), StageIndex(3)};

engine::StepTime step(std::uint32_t rows) {
    return {.rows = rows, .keys = rows * 10ULL, .compute = nanoseconds(rows * 100)};
}

TEST(StepTimes, AreTakenInOrderAndOnce) {
    StepTimes times;
    EXPECT_TRUE(times.empty());
    times.add(step(1));
    times.add(step(0));  // operations alone say nothing
    times.add(step(2));
    const auto message = times.take(kRoute);
    EXPECT_EQ(message.epoch(), 7U);
    EXPECT_EQ(message.stage(), 3U);
    ASSERT_EQ(message.steps_size(), 2);
    EXPECT_EQ(message.steps(0).rows(), 1U);
    EXPECT_EQ(message.steps(1).rows(), 2U);
    EXPECT_EQ(message.steps(1).keys(), 20U);
    EXPECT_EQ(message.steps(1).compute_ns(), 200U);
    EXPECT_TRUE(times.empty());
    EXPECT_EQ(times.take(kRoute).steps_size(), 0);
}

TEST(StepTimes, DropTheOldestWhenFull) {
    StepTimes times;
    for (std::uint32_t i = 1; i <= StepTimes::kCapacity + 10; ++i)
        times.add(step(i));
    EXPECT_EQ(times.dropped(), 10U);
    const auto message = times.take(kRoute);
    ASSERT_EQ(message.steps_size(), static_cast<int>(StepTimes::kCapacity));
    for (int i = 0; i < message.steps_size(); ++i)
        ASSERT_EQ(message.steps(i).rows(), static_cast<std::uint32_t>(i) + 11);
    times.add(step(5));
    EXPECT_EQ(times.take(kRoute).steps(0).rows(), 5U);
}

}  // namespace
}  // namespace potluck::worker
