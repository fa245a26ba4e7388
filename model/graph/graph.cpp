#include "model/graph/graph.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace potluck::model {

GraphBuilder::GraphBuilder(const ModelConfig& config, const ShardSpec& shard,
                           std::function<bool(std::string_view)> has_tensor)
    : config_(config), has_tensor_(std::move(has_tensor)) {
    POTLUCK_CHECK(shard.begin <= shard.end && shard.end <= config.n_layers);
    graph_.shard = shard;
}

std::string GraphBuilder::layer_name(LayerIndex layer, std::string_view suffix) {
    return fmt::format("blk.{}.{}", layer, suffix);
}

ValueId GraphBuilder::value(std::uint32_t width) {
    graph_.widths.push_back(width);
    return ValueId{static_cast<std::uint32_t>(graph_.widths.size() - 1)};
}

WeightIndex GraphBuilder::weight(WeightSpec spec) {
    auto& all = graph_.weights;
    const auto same = std::find_if(all.begin(), all.end(),
                                   [&](const WeightSpec& w) { return w.name == spec.name; });
    if (same != all.end()) return static_cast<WeightIndex>(same - all.begin());
    all.push_back(std::move(spec));
    return static_cast<WeightIndex>(all.size() - 1);
}

ValueId GraphBuilder::emit(Node node, std::uint32_t out_width) {
    node.out = value(out_width);
    (in_head_ ? graph_.head : graph_.body).push_back(node);
    return node.out;
}

ValueId GraphBuilder::begin() {
    if (!graph_.shard.embedding) return graph_.input = value(config_.width);
    Node node{.kind = NodeKind::kEmbed};
    node.weight = weight({"token_embd.weight", config_.width, 0, WeightUse::kEmbedding});
    return emit(node, config_.width);
}

ValueId GraphBuilder::rms_norm(ValueId x, std::string name) {
    Node node{.kind = NodeKind::kRmsNorm, .a = x};
    node.group = width(x);
    node.weight = weight({std::move(name), width(x), 1, WeightUse::kVector});
    return emit(node, width(x));
}

ValueId GraphBuilder::head_norm(ValueId x, std::string name) {
    Node node{.kind = NodeKind::kRmsNorm, .a = x};
    node.group = config_.head_dim;
    node.weight = weight({std::move(name), config_.head_dim, 1, WeightUse::kVector});
    return emit(node, width(x));
}

ValueId GraphBuilder::linear(ValueId x, const std::string& stem, std::uint32_t n_out) {
    Node node{.kind = NodeKind::kMatmul, .a = x};
    node.weight = weight({stem + ".weight", width(x), n_out, WeightUse::kMatrix});
    if (has_tensor_(stem + ".bias")) {
        node.bias = weight({stem + ".bias", n_out, 1, WeightUse::kVector});
    }
    return emit(node, n_out);
}

ValueId GraphBuilder::rotate(ValueId x) {
    graph_.body.push_back(Node{.kind = NodeKind::kRotate, .a = x, .out = x});
    return x;
}

ValueId GraphBuilder::attention(LayerIndex layer, ValueId q, ValueId k, ValueId v) {
    Node node{.kind = NodeKind::kAttention, .a = q, .b = k, .c = v};
    node.layer = layer;
    return emit(node, config_.heads * config_.head_dim);
}

ValueId GraphBuilder::add(ValueId a, ValueId b) {
    return emit(Node{.kind = NodeKind::kAdd, .a = a, .b = b}, width(a));
}

ValueId GraphBuilder::gated_ffn(ValueId x, LayerIndex layer) {
    const ValueId gate = linear(x, layer_name(layer, "ffn_gate"), config_.ffn_width);
    const ValueId up = linear(x, layer_name(layer, "ffn_up"), config_.ffn_width);
    const ValueId inner =
        emit(Node{.kind = NodeKind::kSwiglu, .a = gate, .b = up}, config_.ffn_width);
    return linear(inner, layer_name(layer, "ffn_down"), config_.width);
}

void GraphBuilder::finish(ValueId x) {
    graph_.output = x;
    if (!graph_.shard.head) return;
    in_head_ = true;
    graph_.head_input = value(config_.width);
    const ValueId normed = rms_norm(graph_.head_input, "output_norm.weight");
    // A file without output.weight ties the head to the embedding.
    const bool tied = !has_tensor_("output.weight");
    Node node{.kind = NodeKind::kMatmul, .a = normed};
    node.weight = weight({tied ? "token_embd.weight" : "output.weight", config_.width, 0,
                          tied ? WeightUse::kEmbedding : WeightUse::kMatrix});
    if (has_tensor_("output.bias")) {
        node.bias = weight({"output.bias", config_.vocabulary, 1, WeightUse::kVector});
    }
    graph_.logits = emit(node, config_.vocabulary);
}

}  // namespace potluck::model
