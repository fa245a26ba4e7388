#include "coordinator/survey/model_parts.h"

#include <filesystem>
#include <vector>

namespace potluck::coordinator {

Result<planner::ModelParts> model_parts(const model::gguf::Gguf& file,
                                        const model::ModelConfig& config, KvTypes kv) {
    std::vector<planner::TensorOutline> tensors;
    for (const auto& t : file.tensors()) {
        tensors.push_back({.name = std::string(t.name),
                           .type = t.type,
                           .elements = t.dims[0] * t.rows(),
                           .bytes = t.bytes,
                           .matrix = t.n_dims > 1});
    }
    POTLUCK_ASSIGN(
        planner::ModelParts parts,
        planner::make_model_parts({.name = std::filesystem::path(file.name()).filename().string(),
                                   .n_layers = config.n_layers,
                                   .width = config.width,
                                   .ffn_width = config.ffn_width,
                                   .heads = config.heads,
                                   .kv_heads = config.kv_heads,
                                   .head_dim = config.head_dim,
                                   .vocabulary = config.vocabulary,
                                   .context_length = config.context_length},
                                  tensors));
    parts.kv_bytes_per_token_layer = model::kv_bytes_per_token_layer(config, kv);
    return parts;
}

}  // namespace potluck::coordinator
