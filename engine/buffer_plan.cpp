#include "engine/buffer_plan.h"

#include <algorithm>
#include <limits>

namespace potluck::engine {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

/// The index of the last node that reads each value; values that leave the graph live to its end.
std::vector<std::size_t> last_uses(const model::Graph& graph,
                                   const std::vector<model::Node>& nodes) {
    std::vector<std::size_t> last(graph.widths.size(), 0);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        for (const auto v : {nodes[i].a, nodes[i].b, nodes[i].c, nodes[i].out})
            last[v.index] = i;
    }
    last[graph.output.index] = nodes.size();
    if (graph.shard.head) last[graph.logits.index] = nodes.size();
    return last;
}

}  // namespace

BufferPlan plan_buffers(const model::Graph& graph) {
    std::vector<model::Node> nodes = graph.body;
    nodes.insert(nodes.end(), graph.head.begin(), graph.head.end());
    const auto last = last_uses(graph, nodes);
    BufferPlan plan;
    plan.slot_of.assign(graph.widths.size(), kNone);
    std::vector<std::uint32_t> free_slots;
    bool in_head = false;

    const auto place = [&](model::ValueId v) {
        auto& slot = plan.slot_of[v.index];
        if (slot != kNone) return;
        const std::uint32_t width = graph.widths[v.index];
        // The free slot whose width is nearest, so that wide buffers stay for wide values.
        const auto distance = [&](std::uint32_t s) {
            const auto w = plan.slots[s].width;
            return w > width ? w - width : width - w;
        };
        const auto best =
            std::min_element(free_slots.begin(), free_slots.end(),
                             [&](auto x, auto y) { return distance(x) < distance(y); });
        if (best == free_slots.end()) {
            slot = static_cast<std::uint32_t>(plan.slots.size());
            plan.slots.push_back({width, in_head});
        } else {
            slot = *best;
            free_slots.erase(best);
            plan.slots[slot].width = std::max(plan.slots[slot].width, width);
        }
    };

    if (!graph.shard.embedding) place(graph.input);
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (graph.shard.head && i == graph.body.size()) {
            in_head = true;
            free_slots.clear();
            place(graph.head_input);
        }
        place(nodes[i].out);
        // Free what nobody reads any more; `out` is placed first, so no op writes what it reads.
        for (std::uint32_t v = 0; v < graph.widths.size(); ++v) {
            if (plan.slot_of[v] != kNone && last[v] == i) free_slots.push_back(plan.slot_of[v]);
        }
    }
    // A shard without layers, embedding or head passes its input on.
    place(graph.output);
    return plan;
}

}  // namespace potluck::engine
