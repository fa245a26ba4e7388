// What served steps say of devices beside their probes, by hand.

#include "coordinator/survey/lessons.h"

#include <gtest/gtest.h>

namespace potluck::coordinator {
namespace {

using std::chrono::milliseconds;

constexpr NodeId kA{1}, kB{2};

class LessonsTest : public ::testing::Test {
  protected:
    LessonsTest() {
        plan_.stages.resize(2);
        plan_.stages[0].node = kA;
        plan_.stages[1].node = kB;
        plan_.stages[1].device = 3;
        predicted_.emplace();
        predicted_->stages_s = {0.010, 0.020};
        measured_.reset(2);
    }
    void serve(std::uint32_t stage, std::size_t steps, milliseconds time) {
        for (std::size_t i = 0; i < steps; ++i)
            measured_.observe(StageIndex(stage), {.rows = 1, .keys = 1, .time = time});
    }

    Plan plan_;
    std::optional<planner::Prediction> predicted_;
    Surveyed surveyed_;
    MeasuredSpeed measured_;
    Lessons lessons_;
};

TEST_F(LessonsTest, TimesOfTheProbeAreKeptByDevice) {
    lessons_.begin(surveyed_, plan_, predicted_);
    serve(0, Lessons::kLeastSteps - 1, milliseconds(15));
    serve(1, Lessons::kLeastSteps, milliseconds(10));
    lessons_.learn(measured_, surveyed_);
    ASSERT_EQ(surveyed_.slowness.size(), 1U) << "few steps say nothing";
    EXPECT_DOUBLE_EQ(surveyed_.slowness.at({kB, 3}), 0.5);
    serve(0, 1, milliseconds(15));
    lessons_.learn(measured_, surveyed_);
    lessons_.learn(measured_, surveyed_);
    EXPECT_DOUBLE_EQ(surveyed_.slowness.at({kA, 0}), 1.5) << "learnt twice it is still so";
}

TEST_F(LessonsTest, APredictionThatKnewIsMeasuredAgainstTheProbe) {
    surveyed_.slowness[{kA, 0}] = 2;  // so that its 10 ms are 5 ms by the probe
    lessons_.begin(surveyed_, plan_, predicted_);
    serve(0, Lessons::kLeastSteps, milliseconds(15));
    lessons_.learn(measured_, surveyed_);
    EXPECT_DOUBLE_EQ(surveyed_.slowness.at({kA, 0}), 3);
    serve(0, 1000, milliseconds(900));
    lessons_.learn(measured_, surveyed_);
    EXPECT_DOUBLE_EQ(surveyed_.slowness.at({kA, 0}), Lessons::kMostTimes);
}

TEST_F(LessonsTest, FirstStepsCorrectThePrediction) {
    predicted_->way_s = 0.005;
    planner::Prediction at_start{.stages_s = {0.008, 0.020}};
    serve(0, 1, milliseconds(16));
    EXPECT_EQ(corrected_decode_tps(*predicted_, at_start, measured_), 0) << "one has said nothing";
    serve(1, 1, milliseconds(25));
    // 16 ms and a quarter more behind the predicted depth, 25 ms, and 5 ms on the way.
    EXPECT_DOUBLE_EQ(corrected_decode_tps(*predicted_, at_start, measured_), 20);
}

TEST_F(LessonsTest, NothingIsLearntOfWhoLeftOrWasNotPredicted) {
    lessons_.begin(surveyed_, plan_, predicted_);
    serve(0, Lessons::kLeastSteps, milliseconds(15));
    lessons_.forget(kA);
    lessons_.learn(measured_, surveyed_);
    lessons_.begin(surveyed_, plan_, std::nullopt);
    lessons_.learn(measured_, surveyed_);
    EXPECT_TRUE(surveyed_.slowness.empty());
}

}  // namespace
}  // namespace potluck::coordinator
