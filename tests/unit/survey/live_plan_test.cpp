// The planner over machines that registered: what it chooses, what it leaves out, and when it says
// nothing.

#include "coordinator/survey/live_plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace potluck::coordinator {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr std::uint64_t kGiB = 1ULL << 30;

/// 12 layers of 20 MB and ends of 20 MB, in Q8_0.
planner::ModelParts model() {
    std::vector<planner::TensorOutline> tensors;
    const auto add = [&](std::string name) {
        tensors.push_back({.name = std::move(name),
                           .type = TensorType::kQ8_0,
                           .elements = 18'823'529,
                           .bytes = 20'000'000});
    };
    for (int i = 0; i < 12; ++i)
        add(fmt::format("blk.{}.w", i));
    add("token_embd.weight");
    add("output.weight");
    return planner::make_model_parts({.name = "even",
                                      .n_layers = 12,
                                      .width = 1024,
                                      .ffn_width = 3072,
                                      .heads = 8,
                                      .kv_heads = 4,
                                      .head_dim = 128,
                                      .vocabulary = 20'000,
                                      .context_length = 4096},
                                     tensors)
        .value();
}

/// Machines a, b, …: each with one device that is so many times as fast as 10 GB/s.
class Machines {
  public:
    void add(double speed, std::uint64_t bytes = 4 * kGiB) {
        const NodeId node(static_cast<std::uint32_t>(surveyed.nodes.size() + 1));
        const std::string name(1, static_cast<char>('a' + surveyed.nodes.size()));
        planner::Device device;
        device.memory_bytes = bytes;
        device.read_gbps = 10 * speed;
        const planner::MatmulRates rates{{1000 * speed, 1000 * speed, 1000 * speed}};
        device.quantised = device.floats = rates;
        device.types = {TensorType::kQ8_0};
        device.by_type = {{TensorType::kQ8_0, rates}};
        device.layer_overhead_us = 20 / speed;
        RegisteredDevice registered{.name = "cpu",
                                    .arithmetic_class = "cpu-2",
                                    .free_bytes = bytes,
                                    .types = device.types,
                                    .measured = device};
        surveyed.nodes[node] = {name, {.address = name + ":1", .devices = {registered}}};
        offers.push_back(
            {.node = node, .name = name + "/0 cpu", .address = name, .free_bytes = bytes});
    }
    /// "b:8 a:4"
    std::string chosen(const PlanWish& wish) {
        const auto choice = choose(model(), surveyed, offers, wish);
        if (!choice) return choice.error().message;
        left_out = choice->left_out;
        std::string text;
        for (const auto& stage : choice->stages) {
            text += fmt::format("{}{}:{}", text.empty() ? "" : " ",
                                surveyed.nodes.at(stage.node).name, stage.layers);
        }
        return text;
    }
    Surveyed surveyed;
    std::vector<DeviceOffer> offers;
    std::vector<std::string> left_out;
};

PlanWish wish(planner::Objective objective, bool use_all = false) {
    return {.work = workload_of({.context = 512, .slots = 4}, 4096),
            .objective = objective,
            .use_all = use_all};
}

TEST(LivePlan, OneUserIsServedByTheFastestAlone) {
    Machines machines;
    machines.add(1);
    machines.add(4);
    machines.add(2);
    EXPECT_EQ(machines.chosen(wish(planner::Objective::kDecode)), "b:12");
    ASSERT_THAT(machines.left_out, SizeIs(2));
    EXPECT_THAT(machines.left_out[0], HasSubstr("a/0 cpu: "));
    EXPECT_THAT(machines.left_out[1], HasSubstr("c/0 cpu: "));
}

TEST(LivePlan, AServedStepCountsMoreThanAProbe) {
    Machines machines;
    machines.add(1);
    machines.add(2);
    EXPECT_EQ(machines.chosen(wish(planner::Objective::kDecode)), "b:12");
    const auto alone = [&](std::uint32_t node) {
        Plan plan;
        plan.stages.resize(1);
        plan.stages[0].node = NodeId(node);
        plan.stages[0].part.end = 12;
        return predict(model(), machines.surveyed, plan, wish(planner::Objective::kDecode)).value();
    };
    const auto before = alone(2);
    ASSERT_THAT(before.stages_s, SizeIs(1));
    EXPECT_NEAR(before.stages_s[0] + before.way_s, 1 / before.decode_tps, 1e-12);
    machines.surveyed.slowness[{NodeId(2), 0}] = 3;
    const auto after = alone(2);
    EXPECT_NEAR(after.stages_s[0], 3 * before.stages_s[0], 1e-12);
    EXPECT_NEAR(after.way_s, before.way_s, 1e-12);
    EXPECT_EQ(machines.chosen(wish(planner::Objective::kDecode)), "a:12");
}

TEST(LivePlan, WhoAsksForAllGetsAll) {
    Machines machines;
    for (int i = 0; i < 3; ++i)
        machines.add(1);
    const auto choice = choose(model(), machines.surveyed, machines.offers,
                               wish(planner::Objective::kThroughput, true));
    ASSERT_TRUE(choice) << choice.error().message;
    ASSERT_THAT(choice->stages, SizeIs(3));
    EXPECT_THAT(choice->left_out, SizeIs(0));
    for (const auto& stage : choice->stages) {
        EXPECT_GE(stage.layers, 3U);
        EXPECT_LE(stage.layers, 5U);
    }
}

TEST(LivePlan, MoreDevicesThanLayersCannotAllBeUsed) {
    Machines machines;
    for (int i = 0; i < 14; ++i)
        machines.add(1);
    const auto choice = choose(model(), machines.surveyed, machines.offers,
                               wish(planner::Objective::kThroughput, true));
    ASSERT_TRUE(choice) << choice.error().message;
    EXPECT_THAT(choice->stages, SizeIs(12));
}

TEST(LivePlan, AModelThatNoneHoldsAloneIsSpread) {
    Machines machines;
    machines.add(4, 256 * (1ULL << 20) + 150'000'000);
    machines.add(1);
    const std::string chosen = machines.chosen(wish(planner::Objective::kDecode));
    EXPECT_THAT(chosen, HasSubstr("a:"));
    EXPECT_THAT(chosen, HasSubstr("b:"));
}

TEST(LivePlan, ASlowLinkIsAvoided) {
    Machines machines;
    machines.add(1);
    machines.add(1.2);
    EXPECT_EQ(machines.chosen(wish(planner::Objective::kDecode)), "b:12");
    machines.surveyed.links[link_between(kCoordinatorNode, NodeId(2))] = {.rtt_ms = 80, .gbits = 1};
    EXPECT_EQ(machines.chosen(wish(planner::Objective::kDecode)), "a:12");
}

TEST(LivePlan, CachesOfAllSlotsNeedNotFit) {
    Machines machines;
    // 280 MB of weights, 25 MB of cache for each slot of 1024 tokens, 256 MiB of headroom.
    machines.add(1, 700'000'000);
    PlanWish many = wish(planner::Objective::kDecode);
    many.work = workload_of({.context = 1024, .slots = 64}, 4096);
    EXPECT_EQ(machines.chosen(many), "a:12");
    machines.offers[0].free_bytes = 300'000'000;
    EXPECT_THAT(machines.chosen(many), HasSubstr("no pipeline of these devices holds the model"));
}

TEST(LivePlan, WhoWasNotMeasuredIsNotGuessedAt) {
    Machines machines;
    machines.add(1);
    machines.add(1);
    machines.surveyed.nodes[NodeId(2)].registration.devices[0].measured.reset();
    const auto choice =
        choose(model(), machines.surveyed, machines.offers, wish(planner::Objective::kDecode));
    ASSERT_FALSE(choice);
    EXPECT_EQ(choice.error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(choice.error().message, "b/0 cpu was not measured");
}

TEST(LivePlan, AnyPlanHasAPrediction) {
    Machines machines;
    machines.add(1);
    machines.add(2);
    Plan plan;
    plan.stages.resize(2);
    plan.stages[0].node = NodeId(2);
    plan.stages[0].part = {.begin = 0, .end = 6, .embedding = true};
    plan.stages[1].node = NodeId(1);
    plan.stages[1].part = {.begin = 6, .end = 12, .head = true};
    const auto speed = predict(model(), machines.surveyed, plan, wish(planner::Objective::kDecode));
    ASSERT_TRUE(speed) << speed.error().message;
    // 6 layers at 20 GB/s, 6 and the head at 10 GB/s, and a little more: 120/20 + 140/10 ms.
    EXPECT_LT(speed->decode_tps, 1000.0 / 20);
    EXPECT_GT(speed->decode_tps, 1000.0 / 24);
    plan.stages[0].device = 7;
    EXPECT_FALSE(predict(model(), machines.surveyed, plan, wish(planner::Objective::kDecode)));
}

TEST(LivePlan, TheSchedulerIsToldWhatLinksCost) {
    using namespace std::chrono_literals;
    Surveyed surveyed;
    const NodeId a(1);
    const NodeId b(2);
    surveyed.links[link_between(kCoordinatorNode, a)] = {.rtt_ms = 0.2, .gbits = 1};
    surveyed.links[link_between(kCoordinatorNode, b)] = {.rtt_ms = 6, .gbits = 0.1};
    surveyed.links[link_between(a, b)] = {.rtt_ms = 4, .gbits = 0.5};
    Plan plan;
    plan.stages.resize(3);
    plan.stages[0].node = plan.stages[1].node = a;
    plan.stages[2].node = b;
    const auto costs = first_costs(surveyed, plan, 4096);
    ASSERT_EQ(costs.size(), 3U);
    EXPECT_EQ(costs[0].hop, 0ms);  // two devices of one machine
    EXPECT_EQ(costs[0].hop_per_row, 0ns);
    EXPECT_EQ(costs[1].hop, 2ms);
    EXPECT_EQ(costs[1].hop_per_row, 65'536ns);  // 32,768 bits at 0.5 a nanosecond
    EXPECT_EQ(costs[2].hop, 3ms + 100us);       // back, and out again to the first
    EXPECT_EQ(costs[2].hop_per_row, 0ns);
}

TEST(LivePlan, TheWorkloadIsWithinTheContext) {
    const auto work = workload_of({.slots = 1000, .max_batch_rows = 4096}, 64);
    EXPECT_EQ(work.context, 64U);
    EXPECT_LE(work.depth, 64U);
    EXPECT_LE(work.prompt, 64U);
    EXPECT_LE(work.slots, 256U);
    EXPECT_LE(work.chunk, 64U);
}

}  // namespace
}  // namespace potluck::coordinator
