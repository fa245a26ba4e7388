// Qwen3 (dense): no biases; Q and K are normalised per head before they turn.
// Source: Yang et al., arXiv 2505.09388.

#include "model/graph/architecture.h"

namespace potluck::model::arch {
namespace {

Result<ModelConfig> read_config(const gguf::Gguf& file) {
    return read_common_config(file, "qwen3", RotaryPairing::kHalves);
}

void build(GraphBuilder& b, const ModelConfig& config) {
    const std::uint32_t q_width = config.heads * config.head_dim;
    const std::uint32_t kv_width = config.kv_heads * config.head_dim;
    ValueId x = b.begin();
    for (LayerIndex layer = b.first_layer(); layer < b.last_layer(); ++layer) {
        const auto name = [&](std::string_view suffix) { return b.layer_name(layer, suffix); };
        const ValueId h = b.rms_norm(x, name("attn_norm.weight"));
        // One after another, so that the engine can compute them together.
        const ValueId q_raw = b.linear(h, name("attn_q"), q_width);
        const ValueId k_raw = b.linear(h, name("attn_k"), kv_width);
        const ValueId v = b.linear(h, name("attn_v"), kv_width);
        const ValueId q = b.head_norm(q_raw, name("attn_q_norm.weight"));
        const ValueId k = b.head_norm(k_raw, name("attn_k_norm.weight"));
        const ValueId mixed = b.attention(layer, b.rotate(q), b.rotate(k), v);
        x = b.add(x, b.linear(mixed, name("attn_output"), config.width));
        x = b.add(x, b.gated_ffn(b.rms_norm(x, name("ffn_norm.weight")), layer));
    }
    b.finish(x);
}

}  // namespace

const Architecture& qwen3() {
    static const Architecture architecture{"qwen3", read_config, build};
    return architecture;
}

}  // namespace potluck::model::arch
