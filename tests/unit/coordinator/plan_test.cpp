#include "coordinator/core/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace potluck::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = 1U << 20;

model::ModelConfig config_of(std::uint32_t layers) {
    model::ModelConfig config;
    config.n_layers = layers;
    config.context_length = 4096;
    config.kv_heads = 4;
    config.head_dim = 64;
    return config;
}

/// 10 MiB a layer, 5 MiB embedding and head each; 1 KiB of f16 KV per token and layer.
model::Footprint footprint_of(std::uint32_t layers, bool tied = false) {
    model::Footprint f;
    f.layer_bytes.assign(layers, 10 * kMiB);
    f.embedding_bytes = 5 * kMiB;
    f.head_bytes = 5 * kMiB;
    f.tied = tied;
    return f;
}

std::vector<DeviceOffer> devices_of(const std::vector<std::uint64_t>& mib) {
    std::vector<DeviceOffer> devices;
    for (std::size_t i = 0; i < mib.size(); ++i) {
        const auto number = std::to_string(i);
        devices.push_back({.node = NodeId(static_cast<std::uint32_t>(i + 1)),
                           .name = "host" + number + "/0 cpu",
                           .address = "host" + number + ":9",
                           .free_bytes = mib[i] * kMiB,
                           .arithmetic_class = "cpu-1"});
    }
    return devices;
}

std::vector<std::uint32_t> layers_of(const Plan& plan) {
    std::vector<std::uint32_t> layers;
    for (const auto& stage : plan.stages)
        layers.push_back(stage.part.end - stage.part.begin);
    return layers;
}

struct Split {
    const char* name;
    std::uint32_t layers;
    std::vector<std::uint64_t> mib;
    std::vector<std::uint32_t> asked;
    std::vector<std::uint32_t> expected;  ///< of the stages that there are
};
class Splits : public ::testing::TestWithParam<Split> {};

TEST_P(Splits, CoverTheModelOnceInOrder) {
    const Split& s = GetParam();
    const auto plan = make_plan(footprint_of(s.layers), config_of(s.layers), devices_of(s.mib),
                                {.context = 256, .slots = 2, .split = s.asked});
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_EQ(layers_of(*plan), s.expected);
    LayerIndex next = 0;
    for (std::size_t i = 0; i < plan->stages.size(); ++i) {
        const auto& stage = plan->stages[i];
        EXPECT_EQ(stage.part.begin, next);
        next = stage.part.end;
        EXPECT_EQ(stage.part.embedding, i == 0);
        EXPECT_EQ(stage.part.head, i + 1 == plan->stages.size());
        EXPECT_EQ(stage.address, "host" + std::to_string(stage.node.value - 1) + ":9");
    }
    EXPECT_EQ(next, s.layers);
    EXPECT_EQ(plan->max_in_flight, most_in_flight(plan->stages.size()));
}

INSTANTIATE_TEST_SUITE_P(
    All, Splits,
    ::testing::Values(Split{"OneDevice", 8, {1000}, {}, {8}},
                      Split{"EqualDevices", 8, {1000, 1000}, {}, {4, 4}},
                      Split{"ByMemory", 8, {3000, 1000}, {}, {6, 2}},
                      Split{"ThreeDevices", 10, {1000, 2000, 2000}, {}, {2, 4, 4}},
                      Split{"AtLeastOneEach", 8, {100'000, 200, 200}, {}, {6, 1, 1}},
                      Split{"AtLeastOneEachFirst", 8, {200, 200, 100'000}, {}, {1, 1, 6}},
                      Split{"MoreDevicesThanLayers", 2, {1000, 1000, 1000}, {}, {1, 1}},
                      Split{"AsAsked", 8, {1000, 1000}, {1, 7}, {1, 7}},
                      Split{"AskedToLeaveOut", 8, {1000, 1000, 1000}, {3, 0, 5}, {3, 5}},
                      Split{"AskedToLeaveOutTheEnds", 8, {1000, 1000, 1000}, {0, 8, 0}, {8}}),
    [](const auto& instance) { return instance.param.name; });

TEST(Plan, EveryProportionalSplitIsWhole) {
    for (std::uint32_t layers = 1; layers <= 40; ++layers) {
        for (std::size_t devices = 1; devices <= 6; ++devices) {
            std::vector<std::uint64_t> mib;
            for (std::size_t i = 0; i < devices; ++i)
                mib.push_back(2000 + 977 * ((i * 7 + layers) % 5));
            const auto plan = make_plan(footprint_of(layers), config_of(layers), devices_of(mib),
                                        {.context = 64, .slots = 1});
            ASSERT_TRUE(plan) << plan.error().message;
            // Each gets something while layers last; then the smallest go without.
            EXPECT_LE(plan->stages.size(), layers);
            if (layers >= devices) {
                EXPECT_EQ(plan->stages.size(), devices);
            }
            EXPECT_EQ(plan->stages.back().part.end, layers);
        }
    }
}

struct Failure {
    const char* name;
    std::vector<std::uint64_t> mib;
    PlanRequest request;
    ErrorCode code;
    const char* message;
};
class Failures : public ::testing::TestWithParam<Failure> {};

TEST_P(Failures, SayWhichNumberDoesNotFit) {
    const Failure& f = GetParam();
    const auto plan = make_plan(footprint_of(8), config_of(8), devices_of(f.mib), f.request);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, f.code);
    EXPECT_THAT(plan.error().message, HasSubstr(f.message));
}

INSTANTIATE_TEST_SUITE_P(
    All, Failures,
    ::testing::Values(
        Failure{"NoDevice", {}, {}, ErrorCode::kInvalidArgument, "no device"},
        Failure{"SplitOfOtherLength",
                {1000, 1000},
                {.split = {8}},
                ErrorCode::kInvalidArgument,
                "the split 8 names 1 devices, the cluster has 2"},
        Failure{"SplitOfOtherSum",
                {1000, 1000},
                {.split = {4, 5}},
                ErrorCode::kInvalidArgument,
                "the split 4,5 has 9 layers, the model has 8"},
        Failure{"SplitThatWraps",
                {1000, 1000},
                {.split = {0xFFFFFFFF, 9}},
                ErrorCode::kInvalidArgument,
                "has 4294967304 layers"},
        Failure{"LongContext",
                {1000},
                {.context = 5000},
                ErrorCode::kInvalidArgument,
                "a context of 5000 is asked for, the model was made for 4096"},
        Failure{"NoSlots", {1000}, {.slots = 0}, ErrorCode::kInvalidArgument, "at least 1"},
        Failure{"NoRows", {1000}, {.max_batch_rows = 0}, ErrorCode::kInvalidArgument, "at least 1"},
        // 85 MiB of 100 may be used, the weights are 90.
        Failure{"WeightsDoNotFit",
                {100},
                {},
                ErrorCode::kResourceExhausted,
                "host0/0 cpu has 100.0 MiB free: layers 0..8 need 90.0 MiB for weights"},
        // 102 MiB may be used; 90 are weights; 32 are one context.
        Failure{"ContextDoesNotFit",
                {120},
                {},
                ErrorCode::kResourceExhausted,
                "32.0 MiB for one context of 4096 tokens"}),
    [](const auto& instance) { return instance.param.name; });

TEST(Plan, CountsPagesOfTheTightestStage) {
    // Equal layers, the second device has less: (170 * 0.85 - 45) MiB over 256 KiB pages.
    const auto plan = make_plan(footprint_of(8), config_of(8), devices_of({1000, 170}),
                                {.slots = 64, .split = {4, 4}});
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_EQ(plan->stages[0].weight_bytes, 45 * kMiB);
    EXPECT_EQ(plan->page_tokens, 64U);
    EXPECT_EQ(plan->kv_pages, (170 * kMiB * 85 / 100 - 45 * kMiB) / (256 << 10));
}

TEST(Plan, TakesNoMorePagesThanSlotsCanUse) {
    const auto plan = make_plan(footprint_of(8), config_of(8), devices_of({100'000}),
                                {.context = 100, .slots = 3});
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_EQ(plan->kv_pages, 6U);  // 2 pages of 64 each
    EXPECT_EQ(plan->context, 100U);
}

TEST(Plan, ATiedMatrixIsHeldOnceByWhoHoldsBothEnds) {
    const auto one = make_plan(footprint_of(4, true), config_of(4), devices_of({1000}), {});
    EXPECT_EQ(one->stages[0].weight_bytes, 45 * kMiB);
    const auto two = make_plan(footprint_of(4, true), config_of(4), devices_of({1000, 1000}), {});
    EXPECT_EQ(two->stages[0].weight_bytes, 25 * kMiB);
    EXPECT_EQ(two->stages[1].weight_bytes, 25 * kMiB);
}

TEST(Plan, PrintsForPeople) {
    auto plan = make_plan(footprint_of(8), config_of(8), devices_of({3000, 1000}),
                          {.context = 256, .slots = 2});
    ASSERT_TRUE(plan) << plan.error().message;
    plan->epoch = Epoch(3);
    EXPECT_EQ(
        to_string(*plan),
        "plan 3: 2 stages\n"
        "  stage 0  layers   0..5   +embedding 65.0 MiB on host0/0 cpu (2.9 GiB free)\n"
        "  stage 1  layers   6..7   +head 25.0 MiB on host1/0 cpu (1000.0 MiB free)\n"
        "  context 256 tokens per request, 2 slots, KV pool 512 tokens (8 pages of 64, f16)\n");
    EXPECT_EQ(fingerprint(*plan), "potluck-cpu-1");
    plan->stages[1].arithmetic_class = "cuda-sm86-1";
    EXPECT_EQ(fingerprint(*plan), "potluck-cpu-1+cuda-sm86-1");
    const auto one = make_plan(footprint_of(8), config_of(8), devices_of({3000}), {});
    EXPECT_THAT(to_string(*one), HasSubstr("1 stage\n"));
    EXPECT_THAT(to_string(*one), HasSubstr("+embedding +head"));
}

}  // namespace
}  // namespace potluck::coordinator
