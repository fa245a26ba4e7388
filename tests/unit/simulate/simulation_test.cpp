#include "coordinator/simulate/simulation.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include <boost/json.hpp>

#include "coordinator/simulate/report.h"

namespace potluck::simulate {
namespace {

using namespace std::chrono_literals;

/// Equal stages of 10 ms and 0.1 ms a row, links of half a millisecond.
SimulationOptions small(std::size_t stages, std::size_t users) {
    SimulationOptions o;
    o.pipeline.stages.assign(stages, StageCost::linear(10ms, 100us));
    o.pipeline.links.assign(stages + 1, {.delay = 500us});
    o.limits = {
        .max_in_flight = stages + 1, .kv_pages = users * 16, .context = 1024, .slots = users};
    o.workload = {.users = users,
                  .think = 0s,
                  .prompt = 100,
                  .answer = 20,
                  .spread = Spread::kFixed,
                  .shared_prefix = 0,
                  .context = 1024};
    o.duration = 20s;
    o.warm_up = 2s;
    return o;
}

SimulationResult run(const SimulationOptions& options) {
    auto result = simulate(options);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : SimulationResult{};
}

TEST(Quantiles, AreValuesThatWereThere) {
    std::vector<nanoseconds> values;
    for (int i = 200; i > 0; --i)
        values.emplace_back(i);
    const auto q = quantiles(values);
    EXPECT_EQ(q.count, 200U);
    EXPECT_EQ(q.p50, 100ns);
    EXPECT_EQ(q.p95, 190ns);
    EXPECT_EQ(q.p99, 198ns);
    EXPECT_EQ(q.max, 200ns);
    EXPECT_EQ(quantiles({}).count, 0U);
    EXPECT_EQ(quantiles({7ns}).p50, 7ns);
}

TEST(Simulation, OneUserMeetsAnIdlePipeline) {
    const auto options = small(2, 1);
    const auto result = run(options);
    // The first token takes a passage, unless two chunks are as fast; every other token takes one.
    EXPECT_LE(result.first_token.max, options.pipeline.traversal(100, 0) * 51 / 50);
    EXPECT_GT(result.first_token.max, options.pipeline.traversal(50, 0));
    EXPECT_EQ(result.gap.p50, options.pipeline.traversal(1, 0));
    EXPECT_EQ(result.gap.p99, options.pipeline.traversal(1, 0));
    // 20 tokens in up to 41.5 ms and 19 times 21.7 ms: one of two stages works, but for the links.
    EXPECT_NEAR(result.tokens_per_second, 20 / (0.0415 + 19 * 0.0217), 1);
    for (const auto& stage : result.stages)
        EXPECT_NEAR(stage.bubble, 0.53, 0.03);
    EXPECT_EQ(result.refused, 0U);
    EXPECT_EQ(result.answered, result.asked);
    EXPECT_DOUBLE_EQ(result.jain, 1);
    EXPECT_LT(result.fair_share.worst, 1);
    EXPECT_EQ(result.waiting_max, 0U);
}

TEST(Simulation, ManyUsersFillAllStages) {
    auto options = small(4, 64);
    options.workload.answer = 200;
    const auto result = run(options);
    for (const auto& stage : result.stages)
        EXPECT_LT(stage.bubble, 0.1);
    EXPECT_GT(result.rows_per_batch, 8);
    EXPECT_GT(result.jain, 0.98);
    EXPECT_EQ(result.answered, result.asked);
}

TEST(Simulation, EqualSeedsMakeEqualEvents) {
    std::set<std::uint64_t> hashes;
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        auto options = small(3, 16);
        options.workload.seed = seed;
        options.workload.spread = Spread::kUniform;
        options.workload.think = 1s;
        const auto once = run(options);
        EXPECT_EQ(to_json(once, {}), to_json(run(options), {})) << "seed " << seed;
        hashes.insert(once.event_hash);
    }
    EXPECT_EQ(hashes.size(), 10U);
}

TEST(Simulation, OpenLoopUsersComeWhateverTheAnswers) {
    auto options = small(2, 8);
    options.workload.arrivals_per_second = 20;
    options.workload.answer = 5;
    const auto result = run(options);
    EXPECT_NEAR(static_cast<double>(result.asked), 20 * 20, 60);
    EXPECT_EQ(result.answered, result.asked);
}

TEST(Simulation, TooManyAreRefused) {
    auto options = small(1, 8);
    options.limits.slots = 1;
    options.scheduler.queue_limit = 3;
    options.workload.arrivals_per_second = 200;
    const auto result = run(options);
    EXPECT_GT(result.refused, 1000U);
    EXPECT_EQ(result.answered + result.refused, result.asked);
    EXPECT_EQ(result.waiting_max, 3U);
    EXPECT_GT(result.waiting_mean, 2.5);
}

TEST(Simulation, SharedBeginningsAreFoundInTheCache) {
    auto options = small(2, 8);
    options.workload.prompt = 200;
    options.workload.shared_prefix = 1;
    options.workload.prefix_tokens = 150;
    const auto shared = run(options);
    const auto cached = static_cast<double>(shared.cached_tokens);
    EXPECT_NEAR(cached / static_cast<double>(shared.prompt_tokens), 0.75, 0.03);
    options.workload.shared_prefix = 0;
    EXPECT_EQ(run(options).cached_tokens, 0U);
}

TEST(Simulation, TooFewPagesPauseSomebody) {
    auto options = small(2, 16);
    options.workload.answer = 300;
    EXPECT_EQ(run(options).pauses, 0U);
    options.limits.kv_pages = 40;
    const auto result = run(options);
    EXPECT_GT(result.pauses, 0U);
    EXPECT_EQ(result.answered, result.asked);
}

// The check on starvation must be able to fail: here everybody waits for the one slot.
TEST(Simulation, WaitingForASlotIsLate) {
    auto options = small(1, 8);
    options.limits.slots = 1;
    const auto result = run(options);
    EXPECT_GT(result.fair_share.worst, 2);
    EXPECT_GT(result.fair_share.late, 10U);
}

TEST(Simulation, WhatCanNeverFitIsAnError) {
    auto options = small(1, 1);
    options.limits.kv_pages = 1;
    const auto result = simulate(options);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
}

TEST(Report, IsAnObjectOnOneLine) {
    auto options = small(2, 4);
    options.duration = 3s;
    options.warm_up = 1s;
    const auto result = run(options);
    MicroBatchingResult batching{
        .tried = {{1, 10}, {2, 20}}, .best = {2, 20}, .tokens_per_second = 19};
    const std::string text = to_json(result, batching);
    EXPECT_EQ(text.find('\n'), text.size() - 1);
    const auto json = boost::json::parse(text).as_object();
    EXPECT_EQ(json.at("asked").to_number<std::uint64_t>(), result.asked);
    EXPECT_EQ(json.at("stages").as_array().size(), 2U);
    EXPECT_NEAR(json.at("micro_batching").at("ratio").to_number<double>(), 0.95, 1e-9);
    EXPECT_EQ(json.at("micro_batching").at("tried").as_array().size(), 2U);
    EXPECT_TRUE(boost::json::parse(to_json(result, {})).at("micro_batching").is_null());
    EXPECT_NE(to_table(result, batching).find("0.950"), std::string::npos);
}

}  // namespace
}  // namespace potluck::simulate
