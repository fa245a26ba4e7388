#include "coordinator/speculate/cost_corrections.h"

#include <gtest/gtest.h>

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

TEST(CostCorrection, MeasuredRoundsCorrectWhatWasForetold) {
    CostCorrection correction;
    EXPECT_DOUBLE_EQ(correction.of(8), 1);
    for (int i = 0; i < 16; ++i)
        correction.observe(0, 11ms, 10ms);
    EXPECT_NEAR(correction.of(8), 1.1, 1e-9);
    for (int i = 0; i < 16; ++i)
        correction.observe(8, 30ms, 20ms);
    EXPECT_NEAR(correction.of(8), 1.5, 0.01);
    EXPECT_NEAR(correction.of(60), 1.5, 0.01);
    EXPECT_NEAR(correction.of(0), 1.1, 0.01);
}

TEST(CostCorrection, OneUnluckyRoundDoesNotRuleItsSizeOut) {
    CostCorrection correction;
    for (int i = 0; i < 20; ++i)
        correction.observe(3, 10ms, 10ms);
    correction.observe(4, 30ms, 10ms);
    EXPECT_LT(correction.of(4), 1.5);
    EXPECT_DOUBLE_EQ(correction.of(3), 1);
    // What is always slow is known to be after a few rounds, and tried again long after.
    for (int i = 0; i < 5; ++i)
        correction.observe(4, 30ms, 10ms);
    EXPECT_GT(correction.of(4), 2.2);
    for (int i = 0; i < 400; ++i)
        correction.observe(3, 10ms, 10ms);
    EXPECT_LT(correction.of(4), 1.3);
}

RoundVerdict ahead(std::uint32_t accepted, nanoseconds took) {
    return {.drafted = 1,
            .accepted = accepted,
            .shape = DraftShape::kAhead,
            .took = took,
            .plain = 40ms};
}

// What is cancelled on the stages holds up the next round. That says nothing about plain rounds,
// only about jobs ahead that are wrong.
TEST(RoundTimes, BehindAWrongJobTeachesWhatItCosts) {
    CostCorrections corrections;
    RoundTimes times;
    const SpeculationCosts costs{.plain = 40ms, .slowest = 10ms, .window = 4};
    for (int i = 0; i < 100; ++i) {
        times.foretell({.shape = DraftShape::kAhead, .tokens = {7}}, costs);
        EXPECT_FALSE(times.hindered());
        times.correct(ahead(0, 40ms), corrections);
        EXPECT_TRUE(times.hindered());
        times.correct({.took = 46ms, .plain = 40ms}, corrections);
        EXPECT_FALSE(times.hindered());
    }
    EXPECT_DOUBLE_EQ(corrections.together.of(0), 1);
    EXPECT_NEAR(corrections.begins.of(1), 1, 1e-9);
    EXPECT_NEAR(static_cast<double>(corrections.behind_wrong().count()), 6e6, 1e5);
    // Whoever was right is in nobody's way.
    times.correct(ahead(1, 40ms), corrections);
    EXPECT_FALSE(times.hindered());
    times.correct(ahead(1, 20ms), corrections);  // follows: twice as long as the slowest stage
    EXPECT_GT(corrections.follows.of(1), 1.1);
}

TEST(RoundTimes, WithoutHindranceNothingIsCharged) {
    CostCorrections corrections;
    EXPECT_EQ(corrections.behind_wrong(), 0ns);
    corrections.observe_behind_wrong(-5ms, 40ms);
    EXPECT_EQ(corrections.behind_wrong(), 0ns);
    corrections.observe_behind_wrong(3600s, 40ms);  // another process had the machine
    EXPECT_LT(corrections.behind_wrong(), 3ms);
}

}  // namespace
}  // namespace potluck::coordinator
