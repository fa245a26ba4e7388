// Runs the real graphs symbolically: every slot holds the name of one value, and whatever a node
// reads must still be there.

#include "engine/buffer_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using model::Graph;
using model::Node;
using model::NodeKind;
using model::ValueId;

constexpr std::uint32_t kNothing = std::numeric_limits<std::uint32_t>::max();

std::vector<ValueId> inputs(const Node& node) {
    switch (node.kind) {
        case NodeKind::kEmbed:
            return {};
        case NodeKind::kRmsNorm:
        case NodeKind::kMatmul:
        case NodeKind::kRotate:
            return {node.a};
        case NodeKind::kSwiglu:
        case NodeKind::kAdd:
            return {node.a, node.b};
        case NodeKind::kAttention:
            return {node.a, node.b, node.c};
    }
    return {};
}

class Slots {
  public:
    Slots(const Graph& graph, const BufferPlan& plan)
        : graph_(graph), plan_(plan), held_(plan.slots.size(), kNothing) {}

    void write(ValueId v, bool in_head) {
        const auto slot = plan_.slot_of[v.index];
        ASSERT_LT(slot, plan_.slots.size());
        ASSERT_GE(plan_.slots[slot].width, graph_.widths[v.index]);
        // A slot of the head has room for fewer rows than the body has.
        ASSERT_TRUE(in_head || !plan_.slots[slot].head);
        held_[slot] = v.index;
    }
    void read(ValueId v) const {
        ASSERT_EQ(held_[plan_.slot_of[v.index]], v.index) << "value was overwritten";
    }
    void run(const std::vector<Node>& nodes, bool in_head) {
        for (const auto& node : nodes) {
            for (const ValueId v : inputs(node)) {
                read(v);
                if (v == node.out) continue;  // in place
                ASSERT_NE(plan_.slot_of[v.index], plan_.slot_of[node.out.index]);
            }
            write(node.out, in_head);
        }
    }

  private:
    const Graph& graph_;
    const BufferPlan& plan_;
    std::vector<std::uint32_t> held_;
};

void check(const Graph& graph) {
    const BufferPlan plan = plan_buffers(graph);
    ASSERT_EQ(plan.slot_of.size(), graph.widths.size());
    Slots slots(graph, plan);
    if (!graph.shard.embedding) slots.write(graph.input, false);
    slots.run(graph.body, false);
    slots.read(graph.output);
    if (!graph.shard.head) return;
    for (int chunk = 0; chunk < 3; ++chunk) {  // the head runs again on other rows
        slots.read(graph.output);
        slots.write(graph.head_input, true);
        slots.run(graph.head, true);
        slots.read(graph.logits);
    }
    slots.read(graph.output);
}

TEST(BufferPlan, NoValueIsOverwrittenBeforeItsLastUse) {
    for (const auto& name : model_names()) {
        SCOPED_TRACE(name);
        const auto model = load_named(name);
        const auto layers = model.description.config.n_layers;
        for (LayerIndex begin = 0; begin <= layers; ++begin)
            for (LayerIndex end = begin; end <= layers; ++end)
                for (const bool embedding : {false, true})
                    for (const bool head : {false, true})
                        check(test::must(model::build_shard(*model.file, model.description,
                                                            {begin, end, embedding, head})));
    }
}

TEST(BufferPlan, MoreLayersTakeNoMoreSlots) {
    test::TinySpec spec;
    spec.layers = 2;
    const auto two = load_tiny(spec);
    spec.layers = 20;
    const auto twenty = load_tiny(spec);
    const auto slots = [](const LoadedModel& m, LayerIndex layers) {
        return plan_buffers(
                   test::must(model::build_shard(*m.file, m.description, {0, layers, true, true})))
            .slots.size();
    };
    EXPECT_EQ(slots(two, 2), slots(twenty, 20));
    EXPECT_LE(slots(twenty, 20), 12U);
}

}  // namespace
}  // namespace potluck::engine
