// The search against every pipeline there is, and its bounds on more devices than it can try.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "coordinator/planner/best_pipeline.h"
#include "tests/unit/planner/brute_force.h"
#include "tests/unit/planner/support.h"

namespace potluck::planner {
namespace {

using namespace test;

constexpr std::array kObjectives{Objective::kDecode, Objective::kPrefill, Objective::kThroughput};

Workload random_work(Dice& dice) {
    const std::uint32_t context = dice.whole(64, 4096);
    return {.context = context,
            .slots = dice.whole(1, 6),
            .depth = dice.whole(0, context),
            .prompt = dice.whole(1, context),
            .chunk = dice.whole(1, 512)};
}

TEST(Search, WithinOnePercentOfBruteForceOn200Inventories) {
    std::size_t possible = 0;
    std::size_t split = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
        SCOPED_TRACE(seed);
        Dice dice(seed);
        const auto model = random_model(dice, 6);
        const Workload work = random_work(dice);
        const auto inventory = random_inventory(dice, model, work, dice.whole(1, 4));
        for (const Objective objective : kObjectives) {
            SCOPED_TRACE(static_cast<int>(objective));
            double best = best_by_brute_force(model, inventory, work, objective);
            const double replicas = best_replicas_by_brute_force(model, inventory, work);
            if (objective == Objective::kThroughput) best = std::max(best, replicas);
            const auto planning = make_plans(model, inventory, {work, objective});
            if (!planning) {
                EXPECT_EQ(std::max(best, replicas), 0);
                continue;
            }
            ++possible;
            const auto& plan = planning->plans.front();
            if (plan.instances.front().stages.size() > 1) ++split;
            EXPECT_TRUE(planning->exact);
            EXPECT_GE(plan.score(objective), 0.99 * best);
            // Replicas that span the devices of one node are not in the brute force.
            if (plan.instances.size() == 1) {
                EXPECT_LE(plan.score(objective), best * (1 + 1e-9));
            }
        }
    }
    // The inventories are worth something: most hold the model, many only together.
    EXPECT_GT(possible, 300U);
    EXPECT_GT(split, 100U);
}

TEST(Search, PredictsWhatTheFormulasSay) {
    std::size_t seen = 0;
    for (std::uint64_t seed = 1000; seed < 1030; ++seed) {
        Dice dice(seed);
        const auto model = random_model(dice, 5);
        const Workload work = random_work(dice);
        const auto inventory = random_inventory(dice, model, work, 1);
        const auto planning = make_plans(model, inventory, {work, Objective::kDecode});
        if (!planning) continue;
        ++seen;
        const auto& p = planning->plans.front().predicted;
        const auto expected = [&](Objective o) {
            return best_by_brute_force(model, inventory, work, o);
        };
        EXPECT_NEAR(p.decode_tps / expected(Objective::kDecode), 1, 1e-9);
        EXPECT_NEAR(p.prefill_tps / expected(Objective::kPrefill), 1, 1e-9);
        EXPECT_NEAR(p.slots_tps / expected(Objective::kThroughput), 1, 1e-9);
    }
    EXPECT_GT(seen, 5U);
}

/// Devices that all differ, none of which holds the model alone.
Inventory different_devices(std::uint32_t n, double memory_mb) {
    Dice dice(n);
    std::vector<Device> devices;
    for (std::uint32_t i = 0; i < n; ++i) {
        devices.push_back(fast_device("d" + std::to_string(i), i, memory_mb * dice.real(0.7, 1.3),
                                      dice.scale(50, 1000)));
        devices.back().quantised = {{500, 1000, dice.scale(1000, 50000)}};
    }
    Inventory inventory = one_node_each(std::move(devices));
    for (std::uint32_t a = 0; a < n; ++a) {
        for (std::uint32_t b = 0; b < a; ++b) {
            const Link link{.rtt_ms = dice.scale(0.1, 2), .gbits = dice.scale(0.5, 10)};
            inventory.links[a * n + b] = inventory.links[b * n + a] = link;
        }
    }
    return inventory;
}

TEST(Search, TenDifferentDevicesAreExact) {
    const auto model = even_model(64, 280, 400);
    for (const Objective objective : kObjectives) {
        for (const double memory_mb : {5000.0, 9000.0}) {
            const auto inventory = different_devices(10, memory_mb);
            Predictor predictor(model, inventory, {});
            const auto best = best_pipeline(predictor, objective);
            ASSERT_FALSE(best.pipeline.empty());
            EXPECT_EQ(best.lower_bound_s, best.seconds);
            EXPECT_GT(best.pipeline.size(), 2U);
            // No order of the same devices with another cut, and no single swap, is better.
            std::vector<std::uint32_t> order;
            for (const auto& stage : best.pipeline)
                order.push_back(stage.device);
            for (std::size_t i = 1; i < order.size(); ++i) {
                auto other = order;
                std::swap(other[i - 1], other[i]);
                EXPECT_GE(best_pipeline(predictor, objective, {.order = other}).seconds,
                          best.seconds * (1 - kTolerance));
            }
        }
    }
}

TEST(Search, ManyOfTheSameKindAreExact) {
    std::vector<Device> devices;
    for (int i = 0; i < 24; ++i)
        devices.push_back(fast_device("d" + std::to_string(i), 0, 2500, i < 12 ? 100 : 300));
    const auto inventory = one_node_each(std::move(devices));
    const auto model = even_model(64, 280, 400);
    Predictor predictor(model, inventory, {});
    const auto best = best_pipeline(predictor, Objective::kDecode);
    ASSERT_FALSE(best.pipeline.empty());
    EXPECT_EQ(best.lower_bound_s, best.seconds);
}

TEST(Search, BeyondTenTheGapIsSaidAndHolds) {
    const auto model = even_model(48, 280, 400);
    for (const Objective objective : kObjectives) {
        const auto inventory = different_devices(16, 3500);
        Predictor predictor(model, inventory, {});
        const auto best = best_pipeline(predictor, objective);
        ASSERT_FALSE(best.pipeline.empty());
        EXPECT_TRUE(predictor.fits(best.pipeline));
        EXPECT_LE(best.lower_bound_s, best.seconds);
        EXPECT_GT(best.lower_bound_s, 0.3 * best.seconds);
    }
}

TEST(Search, ANarrowSearchKnowsWhatItMayHaveMissed) {
    const auto model = even_model(24, 280, 400);
    const auto inventory = different_devices(7, 2500);
    Predictor predictor(model, inventory, {});
    const auto& table = predictor.decode(1);
    const auto exact = find_pipeline(table, inventory, {});
    EXPECT_EQ(exact.lower_bound, exact.cost);
    for (const std::size_t labels : {1U, 3U, 10U, 100U}) {
        const auto narrow = find_pipeline(table, inventory, {.max_labels = labels});
        EXPECT_GE(narrow.cost, exact.cost * (1 - kTolerance));
        EXPECT_LE(narrow.lower_bound, exact.cost * (1 + kTolerance));
        EXPECT_LT(narrow.labels, exact.labels + 10000);
    }
}

TEST(Search, TwinsAreTheSameDeviceInTheSamePlace) {
    auto inventory = one_node_each({fast_device("a", 0, 1000), fast_device("b", 0, 1000),
                                    fast_device("c", 0, 1000), fast_device("d", 0, 2000)});
    // The coordinator's node is nearer to itself than any other.
    EXPECT_THAT(find_twins(inventory), testing::ElementsAre(-1, -1, 1, -1));
    inventory.links[1 * 4 + 3].rtt_ms = inventory.links[3 * 4 + 1].rtt_ms = 9;
    EXPECT_THAT(find_twins(inventory), testing::ElementsAre(-1, -1, -1, -1));
}

}  // namespace
}  // namespace potluck::planner
