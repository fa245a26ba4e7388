#include "bench/footprint.h"

#include <vector>

namespace potluck::bench {
namespace {

struct Use {
    const model::gguf::Gguf& file;
    const model::Graph& graph;
    const kernels::Device& device;

    /// Adds what the nodes read to `bytes` and gives the elements that they multiply by.
    std::uint64_t add(const std::vector<model::Node>& nodes, std::uint64_t& bytes) const {
        std::uint64_t elements = 0;
        for (const auto& node : nodes) {
            if (node.bias != model::kNoWeight) bytes += vector_bytes(node.bias);
            if (node.weight == model::kNoWeight) continue;
            const auto& spec = graph.weights[node.weight];
            const auto type = file.find_tensor(spec.name)->type;
            if (node.kind == model::NodeKind::kMatmul) {
                elements += spec.rows * spec.columns;
                // Weights that are not packed are read as they lie in the file.
                bytes += device.keeps_bytes() ? spec.rows * row_bytes(type, spec.columns)
                                              : device.packed_bytes(type, spec.columns, spec.rows);
            } else if (node.kind == model::NodeKind::kEmbed) {
                bytes += row_bytes(type, spec.columns);
            } else {
                bytes += vector_bytes(node.weight);
            }
        }
        return elements;
    }
    std::uint64_t vector_bytes(model::WeightIndex index) const {
        return graph.weights[index].columns * sizeof(float);
    }
};

}  // namespace

Result<Footprint> token_footprint(const engine::OpenModel& model, const kernels::Device& device) {
    const model::ShardSpec whole = {
        .begin = 0, .end = model.description.config.n_layers, .embedding = true, .head = true};
    POTLUCK_ASSIGN(const model::Graph graph,
                   model::build_shard(*model.file, model.description, whole));
    const Use use{*model.file, graph, device};
    Footprint footprint;
    footprint.body_weights = use.add(graph.body, footprint.read_bytes);
    footprint.head_weights = use.add(graph.head, footprint.read_bytes);
    return footprint;
}

}  // namespace potluck::bench
