#pragma once

// The forward pass of a range of layers as a flat list of nodes. An architecture writes it once
// against GraphBuilder, for whatever layers a shard holds; it never sees a device or a node. The
// builder records every tensor that the graph reads, with its shape, so that the list of what a
// shard needs can never disagree with what it does.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/gguf/gguf.h"
#include "model/graph/config.h"

namespace potluck::model {

/// Which part of a model: layers [begin, end), with or without the embedding and the output head.
struct ShardSpec {
    LayerIndex begin = 0;
    LayerIndex end = 0;
    bool embedding = false;
    bool head = false;

    friend bool operator==(const ShardSpec&, const ShardSpec&) = default;
};

enum class WeightUse : std::uint8_t {
    kMatrix,     ///< multiplied by; any quantised or float type
    kEmbedding,  ///< rows are looked up (a tied head multiplies by it too)
    kVector,     ///< F32, F16 or BF16, used as f32 (norms, biases)
};

struct WeightSpec {
    std::string name;
    std::uint64_t columns = 0;  ///< dims[0]
    std::uint64_t rows = 0;     ///< 1 for a vector; 0: whatever the file has (the vocabulary)
    WeightUse use = WeightUse::kMatrix;
};

/// A value in the graph: `width` f32 per row of the batch.
struct ValueId {
    std::uint32_t index = 0;
    friend bool operator==(ValueId, ValueId) = default;
};
using WeightIndex = std::uint32_t;
inline constexpr WeightIndex kNoWeight = 0xFFFFFFFF;

enum class NodeKind : std::uint8_t {
    kEmbed,      ///< out = rows of weight
    kRmsNorm,    ///< out = norm(a), in groups of `group` values
    kMatmul,     ///< out = weight . a (+ bias)
    kRotate,     ///< a is turned in place; out == a
    kAttention,  ///< stores b (keys) and c (values) of `layer`, out = attention of a
    kSwiglu,     ///< out = silu(a) * b
    kAdd,        ///< out = a + b
};

struct Node {
    NodeKind kind = NodeKind::kEmbed;
    ValueId a, b, c, out;
    WeightIndex weight = kNoWeight;
    WeightIndex bias = kNoWeight;
    std::uint32_t group = 0;
    LayerIndex layer = 0;
};

struct Graph {
    ShardSpec shard;
    std::vector<WeightSpec> weights;
    std::vector<std::uint32_t> widths;  ///< of each value
    std::vector<Node> body;             ///< on every row of the batch
    std::vector<Node> head;             ///< on the sampled rows only, starting from `head_input`
    ValueId input;   ///< activations of the previous stage; unused with embedding
    ValueId output;  ///< what goes to the next stage
    ValueId head_input, logits;
};

class GraphBuilder {
  public:
    /// `has_tensor` answers for optional tensors.
    GraphBuilder(const ModelConfig& config, const ShardSpec& shard,
                 std::function<bool(std::string_view)> has_tensor);

    LayerIndex first_layer() const { return graph_.shard.begin; }
    LayerIndex last_layer() const { return graph_.shard.end; }  ///< one past
    /// "blk.<layer>.<suffix>"
    static std::string layer_name(LayerIndex layer, std::string_view suffix);

    /// The residual stream as it enters this shard.
    ValueId begin();
    ValueId rms_norm(ValueId x, std::string name);
    /// One norm per head with a shared weight of head_dim.
    ValueId head_norm(ValueId x, std::string name);
    /// "<stem>.weight" of n_out rows, plus "<stem>.bias" if the file has it.
    ValueId linear(ValueId x, const std::string& stem, std::uint32_t n_out);
    ValueId rotate(ValueId x);
    ValueId attention(LayerIndex layer, ValueId q, ValueId k, ValueId v);
    ValueId add(ValueId a, ValueId b);
    /// down( silu(gate x) * up x ) of layer `layer`.
    ValueId gated_ffn(ValueId x, LayerIndex layer);
    /// Ends the shard: the residual stream leaves, or the head makes logits of the sampled rows.
    void finish(ValueId x);

    Graph take() { return std::move(graph_); }

  private:
    ValueId value(std::uint32_t width);
    std::uint32_t width(ValueId v) const { return graph_.widths[v.index]; }
    WeightIndex weight(WeightSpec spec);
    ValueId emit(Node node, std::uint32_t out_width);

    const ModelConfig& config_;
    std::function<bool(std::string_view)> has_tensor_;
    Graph graph_;
    bool in_head_ = false;
};

}  // namespace potluck::model
