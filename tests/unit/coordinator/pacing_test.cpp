#include "coordinator/core/pacing.h"

#include <gtest/gtest.h>

#include <cmath>

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

StageCost stage(nanoseconds base, nanoseconds per_row, nanoseconds hop = {}) {
    return {.curve = CostCurve(base, per_row), .hop = hop};
}

Pacing equal(std::size_t stages, nanoseconds base, nanoseconds per_row,
             std::size_t max_in_flight = 8, nanoseconds hop = {}) {
    return {std::vector<StageCost>(stages, stage(base, per_row, hop)), max_in_flight, 512};
}

TEST(Pacing, OneStageDecodesAllUsersInOneBatch) {
    for (const std::size_t users : {1U, 8U, 64U})
        EXPECT_EQ(equal(1, 20ms, 1ms).decode_batches(users, 0), 1U) << users;
}

TEST(Pacing, ALongWayBackIsHiddenByASecondBatch) {
    // 8 rows take 8 ms and the way back 8 ms: 16 for one batch, 14 for two, 16 for three.
    EXPECT_EQ(equal(1, 4ms, 500us, 8, 8ms).decode_batches(8, 0), 2U);
    EXPECT_EQ(equal(1, 20ms, 100us, 8, 1ms).decode_batches(8, 0), 1U);
}

TEST(Pacing, ConstantStepsArePaidOnceForEachStage) {
    // Four stages: four batches keep them busy, a fifth would only repeat the base cost.
    EXPECT_EQ(equal(4, 20ms, 10us).decode_batches(64, 0), 4U);
    // With two users one batch is as fast.
    EXPECT_EQ(equal(4, 20ms, 10us).decode_batches(2, 0), 1U);
    EXPECT_EQ(equal(4, 20ms, 10us, 3).decode_batches(64, 0), 3U);
}

TEST(Pacing, UnequalStagesWantFewerBatches) {
    // 1:2:4 with constant steps: one batch takes 7, two take 8.
    Pacing constant({stage(1ms, 1us), stage(2ms, 2us), stage(4ms, 4us)}, 4, 512);
    EXPECT_EQ(constant.decode_batches(8, 0), 1U);
    // Where rows cost, two batches of half the size are faster.
    Pacing rows({stage(1ms, 1ms), stage(2ms, 2ms), stage(4ms, 4ms)}, 4, 512);
    EXPECT_EQ(rows.decode_batches(64, 0), 2U);
}

TEST(Pacing, MoreUsersThanRowsFillTheirBatches) {
    Pacing pacing({stage(20ms, 1us)}, 4, 16);
    EXPECT_EQ(pacing.decode_batches(64, 0), 4U);
    EXPECT_EQ(pacing.decode_batches(33, 0), 3U);
}

TEST(Pacing, ALinkIsAStageOfItsOwn) {
    // A row takes 1 ms on the wire and little on the stages: two batches overlap wire and stages.
    std::vector<StageCost> stages(2, stage(10ms, 0ms));
    stages[0].hop_per_row = 1ms;
    Pacing pacing(stages, 6, 512);
    // All 20 rows: 10 + 20 + 10 in one batch; in two, each stage works 2 * 10 and the wire 20, and
    // a batch is back after 10 + 10 + 10.
    EXPECT_EQ(pacing.cycle(20, 1, 0), 40ms);
    EXPECT_EQ(pacing.cycle(20, 2, 0), 30ms);
    EXPECT_EQ(pacing.way_through({20, 0}), 40ms);
    EXPECT_EQ(pacing.slowest({20, 0}), 20ms);
    EXPECT_EQ(pacing.decode_batches(20, 0), 2U);
}

// 64 rows were measured, 32 were not, although they cost half: it is tried once, and stays.
TEST(Pacing, TriesWhatWasNeverMeasured) {
    const auto truth = [](std::size_t rows) {
        return std::max<nanoseconds>(880us, 27500ns * static_cast<std::int64_t>(rows));
    };
    Pacing pacing({stage(10ms, 1ms, 500us)}, 4, 512);
    for (const std::uint32_t rows : {1U, 8U, 64U})
        pacing.observe(StageIndex(0), {.rows = rows, .time = truth(rows)});
    std::size_t batches = 0;
    for (int step = 0; step < 10; ++step) {
        batches = pacing.decode_batches(64, 0);
        const auto rows = static_cast<std::uint32_t>(64 / batches);
        pacing.observe(StageIndex(0), {.rows = rows, .time = truth(rows)});
    }
    EXPECT_EQ(batches, 2U);
}

TEST(Pacing, StaysWithItsAnswerWhereAnotherIsNotClearlyBetter) {
    // Two stages, 8 users: two batches and three take as long; with 7 users three are better.
    Pacing pacing(std::vector<StageCost>(2, stage(0ms, 1ms)), 4, 512);
    ASSERT_EQ(pacing.cycle(8, 2, 0), pacing.cycle(8, 3, 0));
    EXPECT_EQ(pacing.decode_batches(8, 0), 2U);
    EXPECT_EQ(pacing.decode_batches(7, 0), 3U);
    EXPECT_EQ(pacing.decode_batches(8, 0), 3U);
    EXPECT_EQ(pacing.decode_batches(1, 0), 1U);
}

TEST(Pacing, DepthFillsTheSlowestStage) {
    EXPECT_EQ(equal(1, 20ms, 1ms).depth({32, 0}), 1U);
    EXPECT_EQ(equal(4, 20ms, 1ms).depth({32, 0}), 4U);
    Pacing pacing({stage(1ms, 1ms), stage(2ms, 2ms), stage(4ms, 4ms)}, 8, 512);
    EXPECT_EQ(pacing.depth({32, 0}), 2U);
    EXPECT_EQ(equal(1, 20ms, 0ms, 8, 30ms).depth({32, 0}), 3U);
}

// A round must not take longer than the budget: one step over one stage, two over two.
TEST(Pacing, ChunksBesideDecodingKeepTheRoundWithinItsBudget) {
    for (const std::size_t stages : {1U, 2U}) {
        const auto n = static_cast<std::int64_t>(stages);
        const Pacing pacing = equal(stages, 24ms / n, 3300us / n);
        const std::size_t rows = pacing.rows_beside({4, 400}, 500, 160ms);
        EXPECT_GT(rows, 20U);
        const auto step = pacing.slowest({4 + rows, 0});
        EXPECT_LE(step * n, 161ms);
    }
}

TEST(Pacing, DecodingLeavesPromptsHalfOfAStep) {
    const Pacing pacing = equal(1, 10ms, 1ms);
    const std::size_t rows = pacing.rows_beside({190, 0}, 0, 160ms);
    EXPECT_NEAR(static_cast<double>(rows), 200, 4);
    EXPECT_GE(equal(1, 10s, 1ms).rows_beside({1, 0}, 0, 160ms), 1U);
}

TEST(Pacing, WhatAStepCostsAnywayLeavesPromptsHalfOfItToo) {
    const Pacing pacing = equal(1, 60ms, 1ms);
    EXPECT_NEAR(static_cast<double>(pacing.rows_beside({}, 0, 80ms)), 62, 1);
    EXPECT_NEAR(static_cast<double>(pacing.rows_beside({}, 0, 160ms)), 100, 1);
}

TEST(Pacing, RowsWithinAStepAreThoseOfTheSlowestStage) {
    const Pacing pacing({stage(10ms, 1ms), stage(20ms, 2ms)}, 4, 512);
    EXPECT_EQ(pacing.rows_within(60ms, {}, 0), 20U);
    EXPECT_EQ(pacing.rows_within(60ms, {5, 0}, 0), 15U);
    EXPECT_EQ(pacing.rows_within(10ms, {}, 0), 0U);
    EXPECT_EQ(pacing.rows_within(10s, {512, 0}, 0), 0U);
    EXPECT_EQ(pacing.full_chunk(0), 20ms + kFullChunk * 2ms);
}

TEST(Pacing, ChunksBalanceTheBubbleAgainstTheBaseCost) {
    // One stage has no bubble: the largest chunks, but for two percent.
    EXPECT_GE(equal(1, 24ms, 3ms).chunk(512, 0, 512), 256U);
    for (const std::size_t stages : {2U, 4U}) {
        const auto n = static_cast<std::int64_t>(stages);
        const Pacing pacing = equal(stages, 24ms / n, 3000us / n);
        const auto total = [&](std::size_t size) {
            const auto batches = static_cast<std::int64_t>((512 + size - 1) / size);
            return (batches - 1) * pacing.slowest({size, 0}) + pacing.way_through({size, 0});
        };
        auto best = total(512);
        for (std::size_t size = 1; size < 512; ++size)
            best = std::min(best, total(size));
        const std::size_t size = pacing.chunk(512, 0, 512);
        EXPECT_LE(total(size), best + best / 25);
        EXPECT_LT(size, 200U);
    }
    EXPECT_EQ(equal(2, 24ms, 3ms).chunk(5, 0, 3), 3U);
    EXPECT_EQ(equal(2, 24ms, 3ms).chunk(0, 0, 3), 0U);
    EXPECT_EQ(equal(2, 24ms, 3ms).chunk(1, 0, 512), 1U);
}

TEST(Pacing, PrefillRateIsThatOfItsChunks) {
    EXPECT_NEAR(equal(1, 24ms, 3ms).prefill_rate(), 320, 16);
    EXPECT_GT(equal(2, 12ms, 1500us).prefill_rate(), 500);
}

}  // namespace
}  // namespace potluck::coordinator
