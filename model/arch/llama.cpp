// Llama 1 to 3 and the many models that share its layout (Mistral, …): rotary pairs are neighbours,
// because the conversion to GGUF permutes Q and K. Source: Touvron et al., arXiv 2302.13971.

#include "model/graph/architecture.h"

namespace potluck::model::arch {
namespace {

Result<ModelConfig> read_config(const gguf::Gguf& file) {
    if (const auto experts = file.get_uint("llama.expert_count"); experts && *experts > 0) {
        return error(
            ErrorCode::kUnsupported,
            file.name() + ": architecture 'llama' with experts (Mixtral) is not supported yet");
    }
    return read_common_config(file, "llama", RotaryPairing::kNeighbours);
}

void build(GraphBuilder& b, const ModelConfig& config) {
    const std::uint32_t q_width = config.heads * config.head_dim;
    const std::uint32_t kv_width = config.kv_heads * config.head_dim;
    ValueId x = b.begin();
    for (LayerIndex layer = b.first_layer(); layer < b.last_layer(); ++layer) {
        const auto name = [&](std::string_view suffix) { return b.layer_name(layer, suffix); };
        const ValueId h = b.rms_norm(x, name("attn_norm.weight"));
        const ValueId q = b.linear(h, name("attn_q"), q_width);
        const ValueId k = b.linear(h, name("attn_k"), kv_width);
        const ValueId v = b.linear(h, name("attn_v"), kv_width);
        const ValueId mixed = b.attention(layer, b.rotate(q), b.rotate(k), v);
        x = b.add(x, b.linear(mixed, name("attn_output"), config.width));
        x = b.add(x, b.gated_ffn(b.rms_norm(x, name("ffn_norm.weight")), layer));
    }
    b.finish(x);
}

}  // namespace

const Architecture& llama() {
    static const Architecture architecture{"llama", read_config, build};
    return architecture;
}

}  // namespace potluck::model::arch
