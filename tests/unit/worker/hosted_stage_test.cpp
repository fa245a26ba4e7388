// What a plan may ask of a worker.

#include "worker/service/hosted_stage.h"

#include <gtest/gtest.h>

#include <functional>

namespace potluck::worker {
namespace {

proto::Plan good_plan() {
    proto::Plan plan;
    plan.set_epoch(1);
    plan.mutable_model()->set_width(64);
    plan.set_context(128);
    plan.set_kv_pages(4);
    plan.set_max_batch_rows(16);
    plan.set_max_in_flight(2);
    auto& stage = *plan.add_pipelines()->add_stages();
    stage.set_node_id(1);
    stage.set_layer_end(3);
    stage.set_embedding(true);
    stage.set_head(true);
    return plan;
}

std::string refusal(const std::function<void(proto::Plan&)>& change) {
    auto plan = good_plan();
    change(plan);
    const auto parts = parts_of(plan, 1, 1);
    return parts ? "taken" : parts.error().message;
}

TEST(PartsOfAPlan, SayHowKeysAndValuesAreStored) {
    auto plan = good_plan();
    auto parts = parts_of(plan, 1, 1);
    ASSERT_TRUE(parts) << parts.error().message;
    ASSERT_EQ(parts->size(), 1U);
    EXPECT_EQ(parts->front().kv, KvTypes{});  // absent is f16
    EXPECT_EQ(parts->front().rotary, model::RotaryOverride{});
    plan.set_kv_k_type("q8_0");
    plan.set_kv_v_type("turbo3");
    plan.set_rope_scaling("yarn");
    plan.set_rope_factor(4);
    plan.set_rope_base(5e6);
    parts = parts_of(plan, 1, 1);
    ASSERT_TRUE(parts) << parts.error().message;
    EXPECT_EQ(parts->front().kv, (KvTypes{KvType::kQ8_0, KvType::kTurbo3}));
    EXPECT_EQ(parts->front().rotary,
              (model::RotaryOverride{
                  .scaling = model::RotaryOverride::Scaling::kYarn, .factor = 4, .base = 5e6}));
}

TEST(PartsOfAPlan, UnknownNamesAreRefused) {
    EXPECT_EQ(refusal([](auto& p) { p.set_kv_k_type("q9_9"); }),
              "plan: KV type 'q9_9' is not known to this worker");
    EXPECT_EQ(refusal([](auto& p) { p.set_kv_v_type("F16"); }),
              "plan: KV type 'F16' is not known to this worker");
    EXPECT_EQ(refusal([](auto& p) { p.set_rope_scaling("dynamic"); }),
              "plan: rotary scaling 'dynamic' is not known (none, linear, yarn)");
    EXPECT_EQ(refusal([](auto& p) { p.set_rope_factor(-2); }),
              "plan: a rotary factor of -2 is not within 1 to 4096");
    EXPECT_EQ(refusal([](auto&) {}), "taken");
}

}  // namespace
}  // namespace potluck::worker
