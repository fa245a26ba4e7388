#include "coordinator/core/cost_curve.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

double ms(nanoseconds time) {
    return static_cast<double>(time.count()) / 1e6;
}

TEST(CostCurve, AGuessHoldsUntilSamplesCome) {
    const CostCurve curve(10ms, 2ms);
    EXPECT_EQ(curve.time(0), 0ms);
    EXPECT_EQ(curve.time(1), 12ms);
    EXPECT_EQ(curve.time(3), 16ms);
    EXPECT_EQ(curve.time(100), 210ms);
    EXPECT_EQ(curve.samples(), 0U);
    EXPECT_NEAR(ms(curve.time(16384)), 2 * ms(curve.time(8192)), 1);
}

TEST(CostCurve, RowsWithinIsTheMostThatFits) {
    const CostCurve curve(10ms, 2ms);
    EXPECT_EQ(curve.rows_within(30ms, 0, 0, 0), 10U);
    EXPECT_EQ(curve.rows_within(30ms, 4, 0, 0), 6U);
    EXPECT_EQ(curve.rows_within(30ms, 10, 0, 0), 0U);
    EXPECT_EQ(curve.rows_within(5ms, 0, 0, 0), 0U);
    for (std::size_t rows = 0; rows < 50; rows += 7) {
        const auto fits = curve.rows_within(77ms, rows, 0, 0);
        if (fits > 0) {
            EXPECT_LE(curve.time(rows + fits), 77ms);
        }
        EXPECT_GT(curve.time(rows + fits + 1), 77ms);
    }
}

TEST(CostCurve, OneSampleScalesAllThatIsUnknown) {
    CostCurve curve(10ms, 2ms);
    curve.observe({.rows = 1, .keys = 1, .time = 36ms});
    EXPECT_NEAR(ms(curve.time(1)), 36, 0.1);
    EXPECT_NEAR(ms(curve.time(100)), 3 * 210, 1);
}

TEST(CostCurve, ALineIsKnownFromAFewOfItsPoints) {
    CostCurve curve(10ms, 1ms);
    for (const std::uint32_t rows : {1U, 8U, 64U})
        curve.observe({.rows = rows, .time = 650us + rows * 640us});
    for (const std::size_t rows : {2U, 4U, 16U, 32U, 50U, 128U, 512U, 4096U})
        EXPECT_NEAR(ms(curve.time(rows)), 0.65 + 0.64 * static_cast<double>(rows), 0.01) << rows;
}

TEST(CostCurve, TheLeastIsTheTimeOfFewerRowsUntilItIsMeasured) {
    CostCurve curve(10ms, 1ms);
    EXPECT_EQ(curve.least_time(5, 0), curve.time(5)) << "a guess has no least";
    curve.observe({.rows = 8, .time = 10ms});
    curve.observe({.rows = 64, .time = 20ms});
    EXPECT_NEAR(ms(curve.least_time(32, 0)), 10, 0.01);
    EXPECT_NEAR(ms(curve.least_time(64, 0)), 20, 0.01);
    EXPECT_NEAR(ms(curve.least_time(256, 0)), 20, 0.01);
    curve.observe({.rows = 32, .time = 18ms});
    EXPECT_NEAR(ms(curve.least_time(32, 0)), 18, 0.01);
    EXPECT_EQ(curve.least_time(0, 0), 0ms);
}

// Of a device that computes up to 16 rows at the price of one.
nanoseconds truth(std::size_t rows) {
    return std::max<nanoseconds>(20ms, 1250us * static_cast<std::int64_t>(rows));
}

TEST(CostCurve, LearnsAnotherShapeThanTheGuess) {
    CostCurve curve(1ms, 1ms);
    for (int round = 0; round < 30; ++round) {
        for (const std::uint32_t rows : {1U, 4U, 16U, 24U, 64U, 200U})
            curve.observe({.rows = rows, .time = truth(rows)});
    }
    for (const std::size_t rows : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 128U, 256U})
        EXPECT_NEAR(ms(curve.time(rows)), ms(truth(rows)), 0.12 * ms(truth(rows))) << rows;
}

TEST(CostCurve, OneWildSampleChangesNothing) {
    CostCurve curve(10ms, 2ms);
    for (int i = 0; i < 10; ++i)
        curve.observe({.rows = 8, .time = 30ms});
    const double before = ms(curve.time(8));
    curve.observe({.rows = 8, .time = 3s});
    EXPECT_NEAR(ms(curve.time(8)), before, 0.01 * before);
    curve.observe({.rows = 8, .time = 30ms});
    EXPECT_NEAR(ms(curve.time(8)), 30, 0.5);
}

TEST(CostCurve, ALastingChangeIsLearntSoon) {
    CostCurve curve(10ms, 2ms);
    for (int i = 0; i < 100; ++i)
        curve.observe({.rows = 8, .time = 30ms});
    for (int i = 0; i < 40; ++i)
        curve.observe({.rows = 8, .time = 90ms});
    EXPECT_NEAR(ms(curve.time(8)), 90, 9);
}

TEST(CostCurve, NeverFallsWhateverComes) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        CostCurve curve(5ms, 1ms);
        for (std::uint64_t i = 0; i < 100; ++i) {
            const auto rows = static_cast<std::uint32_t>(1 + 300 * uniform(seed, 3 * i));
            const auto time =
                nanoseconds(1 + static_cast<std::int64_t>(1e9 * uniform(seed, 3 * i + 1)));
            const auto keys = static_cast<std::uint64_t>(1e5 * uniform(seed, 3 * i + 2));
            curve.observe({rows, keys, time});
            for (std::size_t n = 1; n < 4096; n += 1 + n / 3)
                ASSERT_LE(curve.time(n), curve.time(n + 1 + n / 3)) << "seed " << seed;
        }
    }
}

// One answer of two dozen tokens, with the noise of a real machine, before a long prompt comes.
TEST(CostCurve, AFewKeysMoreHaveNoPrice) {
    CostCurve curve(10ms, 2ms);
    curve.observe({.rows = 1, .keys = 1, .time = 20ms});
    curve.observe({.rows = 8, .keys = 36, .time = 30ms});
    curve.observe({.rows = 64, .keys = 2080, .time = 100ms});
    const double before = ms(curve.time(512, 131'328));
    for (std::uint64_t i = 0; i < 24; ++i) {
        const auto noise = nanoseconds(static_cast<std::int64_t>(15e6 * uniform(1, i)));
        // Slower towards the end, which is when keys are most.
        curve.observe({.rows = 1, .keys = 17 + i, .time = 20ms + noise + (i > 16 ? 8ms : 0ms)});
    }
    EXPECT_NEAR(ms(curve.time(512, 131'328)), before, 0.25 * before);
}

TEST(CostCurve, KeysHaveTheirOwnPrice) {
    CostCurve curve(10ms, 2ms);
    // 20 ms, and 10 µs for every thousand keys.
    const auto cost = [](std::uint64_t keys) { return 20ms + nanoseconds(keys * 10); };
    for (std::uint64_t i = 0; i < 200; ++i) {
        const std::uint64_t keys = (i * 7919) % 1000 * 1000;
        curve.observe({.rows = 8, .keys = keys, .time = cost(keys)});
    }
    for (const std::uint64_t keys : {0U, 250'000U, 500'000U, 1'000'000U})
        EXPECT_NEAR(ms(curve.time(8, keys)), ms(cost(keys)), 0.15 * ms(cost(keys))) << keys;
}

TEST(CostCurve, KeysThatHardlyDifferTeachNoSlope) {
    CostCurve curve(10ms, 2ms);
    for (std::uint64_t i = 0; i < 300; ++i) {
        const double noise = 1 + 0.1 * (uniform(3, i) - 0.5);
        const auto time = nanoseconds(static_cast<std::int64_t>(20e6 * noise));
        curve.observe({.rows = 8, .keys = 8000 + 8 * i, .time = time});
    }
    EXPECT_NEAR(ms(curve.time(8, 0)), ms(curve.time(8, 9000)), 4);
}

TEST(CostCurve, SamplesWithoutRowsOrTimeAreIgnored) {
    CostCurve curve(10ms, 2ms);
    curve.observe({.rows = 0, .time = 5ms});
    curve.observe({.rows = 4, .time = 0ms});
    EXPECT_EQ(curve.samples(), 0U);
    EXPECT_EQ(curve.time(4), 18ms);
}

}  // namespace
}  // namespace potluck::coordinator
