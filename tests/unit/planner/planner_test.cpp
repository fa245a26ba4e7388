// What a plan says: shapes, who is left out and why, and what cannot be planned.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/planner/support.h"

namespace potluck::planner {
namespace {

using namespace test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Workload kWork{.context = 512, .slots = 1, .depth = 256, .prompt = 256, .chunk = 64};

std::vector<std::uint32_t> devices_of(const RankedPlan& plan) {
    std::vector<std::uint32_t> devices;
    for (const auto& instance : plan.instances)
        for (const auto& stage : instance.stages)
            devices.push_back(stage.stage.device);
    return devices;
}

TEST(Planner, OneUserGetsTheFastestDeviceThatHoldsTheModel) {
    const auto model = even_model(8, 100, 20);
    const auto inventory =
        one_node_each({fast_device("slow", 0, 8000, 50), fast_device("fast", 1, 2000, 400)});
    const auto planning = must(make_plans(model, inventory, {kWork, Objective::kDecode}));
    EXPECT_THAT(devices_of(planning.plans.front()), ElementsAre(1));
    EXPECT_EQ(planning.plans.front().shape, "one device");
    ASSERT_EQ(planning.left_out.size(), 1U);
    EXPECT_EQ(planning.left_out[0].device, 0U);
    EXPECT_THAT(planning.left_out[0].reason, HasSubstr("makes it slower: "));
    EXPECT_EQ(planning.plans.front().bottleneck.what, "fast");
    // Memory-proportional splitting is there to compare with, and worse.
    const auto even = std::find_if(planning.plans.begin(), planning.plans.end(), [](const auto& p) {
        return p.shape.find("split by memory") != std::string::npos;
    });
    ASSERT_NE(even, planning.plans.end());
    EXPECT_LT(even->predicted.decode_tps, planning.plans.front().predicted.decode_tps);
}

TEST(Planner, WhatDoesNotFitInOneIsSplitAndFillsTheFastest) {
    const auto model = even_model(20, 100, 20);
    const auto inventory =
        one_node_each({fast_device("slow", 0, 8000, 50), fast_device("fast", 1, 1600, 400)});
    const auto planning = must(make_plans(model, inventory, {kWork, Objective::kDecode}));
    const auto& best = planning.plans.front();
    EXPECT_EQ(best.shape, "pipeline over 2 nodes");
    std::uint32_t of_fast = 0;
    for (const auto& stage : best.instances.front().stages)
        if (stage.stage.device == 1) of_fast = stage.stage.end - stage.stage.begin;
    EXPECT_GE(of_fast, 11U);
    EXPECT_TRUE(planning.left_out.empty());
    EXPECT_EQ(best.bottleneck.what, "slow");
}

// One row takes as long wherever two equal devices are cut; prompts need no head.
TEST(Planner, OfCutsThatDecodeAsFastTheOneThatIsBestForPromptsIsTaken) {
    const auto model = even_model(20, 100, 400);
    const auto inventory =
        one_node_each({fast_device("a", 0, 2300, 100), fast_device("b", 1, 2300, 100)});
    const auto planning = must(make_plans(model, inventory, {kWork, Objective::kDecode}));
    const auto& stages = planning.plans.front().instances.front().stages;
    ASSERT_EQ(stages.size(), 2U);
    EXPECT_EQ(stages[0].stage.end, 10U);
    const auto crowd = must(make_plans(
        model, inventory,
        {{.context = 512, .slots = 8, .depth = 256, .prompt = 256}, Objective::kThroughput}));
    EXPECT_GT(crowd.plans.front().instances.front().stages[0].stage.end, 10U);
}

TEST(Planner, SlotsArePlacedOnReplicas) {
    const auto model = even_model(8, 100, 20);
    std::vector<Device> devices{fast_device("a", 0, 4000), fast_device("b", 1, 4000),
                                fast_device("c", 2, 700), fast_device("d", 3, 300)};
    devices[3].types = {TensorType::kF16};
    const auto inventory = one_node_each(devices);
    Workload work = kWork;
    work.slots = 8;
    const auto planning = must(make_plans(model, inventory, {work, Objective::kThroughput}));
    const auto& best = planning.plans.front();
    EXPECT_EQ(best.shape, "2 replicas");
    EXPECT_THAT(devices_of(best), ElementsAre(0, 1));
    EXPECT_EQ(best.instances[0].slots + best.instances[1].slots, 8U);
    ASSERT_EQ(planning.left_out.size(), 2U);
    EXPECT_THAT(planning.left_out[0].reason, HasSubstr("cannot hold a replica"));
    EXPECT_THAT(planning.left_out[1].reason, HasSubstr("cannot multiply by Q8_0"));
}

TEST(Planner, ALinkCanBeTheBottleneck) {
    const auto model = even_model(20, 100, 20);
    const auto inventory =
        one_node_each({fast_device("a", 0, 1800, 1000), fast_device("b", 1, 1800, 1000)},
                      {.rtt_ms = 50, .gbits = 0.01});
    const auto planning = must(make_plans(model, inventory, {kWork, Objective::kPrefill}));
    EXPECT_THAT(planning.plans.front().bottleneck.what, HasSubstr("the link from node"));
    EXPECT_GT(planning.plans.front().bottleneck.share, 0.5);
}

TEST(Planner, TooLittleMemoryIsSaidWithNumbers) {
    const auto model = even_model(20, 100, 20);
    const auto inventory = one_node_each({fast_device("a", 0, 1800), fast_device("b", 1, 320)});
    auto planning = make_plans(model, inventory, {kWork, Objective::kDecode});
    ASSERT_FALSE(planning);
    EXPECT_EQ(planning.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(planning.error().message, HasSubstr("1.9 GiB"));
    const auto small = even_model(12, 100, 20);
    const auto with = must(make_plans(small, inventory, {kWork, Objective::kDecode}));
    ASSERT_EQ(with.left_out.size(), 1U);
    EXPECT_THAT(with.left_out[0].reason, HasSubstr("too little memory: 305"));
}

TEST(Planner, RefusesWhatMakesNoSense) {
    const auto model = even_model(4, 100, 20);
    const auto inventory = one_node_each({fast_device("a", 0, 4000)});
    const auto refused = [&](Workload work, const Inventory& where) {
        const auto planning = make_plans(model, where, {work, Objective::kDecode});
        return !planning && planning.error().code == ErrorCode::kInvalidArgument;
    };
    EXPECT_FALSE(refused(kWork, inventory));
    EXPECT_TRUE(refused(kWork, {}));
    Workload work = kWork;
    work.context = 8193;
    EXPECT_TRUE(refused(work, inventory));
    work = kWork;
    work.depth = 513;
    EXPECT_TRUE(refused(work, inventory));
    work = kWork;
    work.slots = 0;
    EXPECT_TRUE(refused(work, inventory));
    work.slots = 257;
    EXPECT_TRUE(refused(work, inventory));
    work = kWork;
    work.chunk = 0;
    EXPECT_TRUE(refused(work, inventory));
    EXPECT_TRUE(refused(kWork, one_node_each(std::vector<Device>(65, fast_device("a", 0, 4000)))));
}

TEST(Planner, TheSameQuestionHasTheSameAnswer) {
    Dice dice(4);
    const auto model = random_model(dice, 6);
    const auto inventory = random_inventory(dice, model, kWork, 4);
    const auto a = make_plans(model, inventory, {kWork, Objective::kDecode});
    const auto b = make_plans(model, inventory, {kWork, Objective::kDecode});
    ASSERT_TRUE(a && b);
    ASSERT_EQ(a->plans.size(), b->plans.size());
    for (std::size_t i = 0; i < a->plans.size(); ++i)
        EXPECT_EQ(devices_of(a->plans[i]), devices_of(b->plans[i]));
}

TEST(ModelParts, SortsTensorsIntoParts) {
    const ModelSizes sizes{
        .name = "m", .n_layers = 2, .width = 8, .kv_heads = 2, .head_dim = 4, .context_length = 9};
    std::vector<TensorOutline> tensors{{"token_embd.weight", TensorType::kQ8_0, 320, 340},
                                       {"blk.0.attn_q.weight", TensorType::kQ4_K, 256, 144},
                                       {"blk.0.attn_norm.weight", TensorType::kF32, 8, 32, false},
                                       {"blk.1.attn_q.weight", TensorType::kQ4_K, 256, 144},
                                       {"output_norm.weight", TensorType::kF32, 8, 32, false}};
    const auto tied = must(make_model_parts(sizes, tensors));
    EXPECT_TRUE(tied.tied);
    EXPECT_EQ(tied.layers[0].bytes(), 176U);
    EXPECT_EQ(tied.head.bytes(), 372U);
    EXPECT_EQ(tied.bytes(), 372U + 176 + 144);
    EXPECT_EQ(tied.kv_bytes_per_token_layer, 32U);
    EXPECT_THAT(tied.matrix_types(), ElementsAre(TensorType::kQ4_K, TensorType::kQ8_0));
    tensors.push_back({"output.weight", TensorType::kQ6_K, 512, 420});
    const auto untied = must(make_model_parts(sizes, tensors));
    EXPECT_FALSE(untied.tied);
    EXPECT_EQ(untied.head.bytes(), 452U);
    EXPECT_EQ(untied.bytes(), 340U + 452 + 176 + 144);

    auto missing = tensors;
    missing.erase(missing.begin() + 3);
    EXPECT_EQ(make_model_parts(sizes, missing).error().code, ErrorCode::kCorrupt);
    tensors.push_back({"blk.1.ffn_up_exps.weight", TensorType::kQ4_K, 512, 288});
    const auto experts = make_model_parts(sizes, tensors);
    ASSERT_FALSE(experts);
    EXPECT_EQ(experts.error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace potluck::planner
