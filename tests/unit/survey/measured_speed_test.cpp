// Speeds from times of steps, by hand.

#include "coordinator/survey/measured_speed.h"

#include <gtest/gtest.h>

namespace potluck::coordinator {
namespace {

using std::chrono::milliseconds;

TEST(MeasuredSpeed, NothingIsKnownUntilEveryStageSaidSomething) {
    MeasuredSpeed speed;
    speed.observe(StageIndex(0), {.rows = 1, .keys = 1, .time = milliseconds(1)});
    EXPECT_EQ(speed.decode_tps(), 0);
    speed.reset(2);
    speed.observe(StageIndex(0), {.rows = 1, .keys = 1, .time = milliseconds(10)});
    speed.observe(StageIndex(5), {.rows = 1, .keys = 1, .time = milliseconds(1)});
    EXPECT_EQ(speed.decode_tps(), 0);
    speed.observe(StageIndex(1), {.rows = 1, .keys = 1, .time = milliseconds(30)});
    EXPECT_DOUBLE_EQ(speed.decode_tps(), 25);
    EXPECT_EQ(speed.prefill_tps(4), 0);
}

TEST(MeasuredSpeed, AWholeTripCountsMoreThanItsStages) {
    MeasuredSpeed speed;
    speed.reset(1);
    speed.observe(StageIndex(0), {.rows = 1, .keys = 1, .time = milliseconds(10)});
    speed.observe_trip(milliseconds(999));
    EXPECT_DOUBLE_EQ(speed.decode_tps(), 100);
    speed.observe_trip(milliseconds(20));
    EXPECT_DOUBLE_EQ(speed.way_s(), 0.010);
    speed.observe_trip(milliseconds(30));
    EXPECT_DOUBLE_EQ(speed.decode_tps(), 40);
    EXPECT_DOUBLE_EQ(speed.stage_s(0), 0.010);
    EXPECT_DOUBLE_EQ(speed.way_s(), 0.015);
    EXPECT_EQ(speed.shallow_steps(0), 1U);
    EXPECT_EQ(speed.shallow_steps(1), 0U);
    speed.observe(StageIndex(0), {.rows = 1, .keys = kFewKeys + 1, .time = milliseconds(20)});
    EXPECT_DOUBLE_EQ(speed.stage_s(0), 0.015) << "deep or not, that is what it takes";
    EXPECT_DOUBLE_EQ(speed.shallow_s(0), 0.010);
}

TEST(MeasuredSpeed, ALongPromptGoesByTheSlowestStage) {
    MeasuredSpeed speed;
    speed.reset(2);
    for (const std::uint32_t rows : {kPromptRows - 1, 2U})  // few rows say nothing of prompts
        speed.observe(StageIndex(0), {.rows = rows, .keys = 1, .time = milliseconds(1)});
    EXPECT_EQ(speed.prefill_tps(4), 0);
    speed.observe(StageIndex(0), {.rows = 100, .keys = 1, .time = milliseconds(100)});
    speed.observe(StageIndex(1), {.rows = 100, .keys = 1, .time = milliseconds(400)});
    // One chunk: 1 ms and 4 ms a row. Four: the first as that, three more of 4 ms a row.
    EXPECT_DOUBLE_EQ(speed.prefill_tps(1), 200);
    EXPECT_DOUBLE_EQ(speed.prefill_tps(4), 4 / 0.017);
    EXPECT_NEAR(speed.prefill_tps(1e6), 250, 0.1);
}

TEST(MeasuredSpeed, RecentTimesWeighMore) {
    MeasuredSpeed speed;
    speed.reset(1);
    for (int i = 0; i < 1000; ++i)
        speed.observe_trip(milliseconds(10));
    for (int i = 0; i < 1000; ++i)
        speed.observe_trip(milliseconds(20));
    EXPECT_NEAR(speed.decode_tps(), 50, 0.1);
}

}  // namespace
}  // namespace potluck::coordinator
