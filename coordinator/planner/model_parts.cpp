#include "coordinator/planner/model_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace potluck::planner {
namespace {

void add(Part& part, const TensorOutline& tensor) {
    auto found = std::find_if(part.groups.begin(), part.groups.end(),
                              [&](const WeightGroup& g) { return g.type == tensor.type; });
    if (found == part.groups.end()) {
        part.groups.push_back({.type = tensor.type});
        found = part.groups.end() - 1;
    }
    found->bytes += tensor.bytes;
    if (tensor.matrix) found->elements += tensor.elements;
}

/// The layer of "blk.<n>.<rest>".
std::optional<std::uint32_t> layer_of(std::string_view name) {
    if (!name.starts_with("blk.")) return std::nullopt;
    std::uint32_t layer = 0;
    const char* end = name.data() + name.size();
    const auto read = std::from_chars(name.data() + 4, end, layer);
    if (read.ec != std::errc() || read.ptr == end || *read.ptr != '.') return std::nullopt;
    return layer;
}

}  // namespace

std::uint64_t Part::bytes() const {
    std::uint64_t sum = 0;
    for (const auto& group : groups)
        sum += group.bytes;
    return sum;
}

std::uint64_t ModelParts::bytes() const {
    std::uint64_t sum = head.bytes() + (tied ? 0 : embedding.bytes());
    for (const auto& layer : layers)
        sum += layer.bytes();
    return sum;
}

std::vector<TensorType> ModelParts::matrix_types() const {
    std::vector<TensorType> types;
    const auto collect = [&](const Part& part) {
        for (const auto& group : part.groups) {
            if (group.elements > 0 &&
                std::find(types.begin(), types.end(), group.type) == types.end())
                types.push_back(group.type);
        }
    };
    for (const auto& layer : layers)
        collect(layer);
    collect(head);
    return types;
}

Result<ModelParts> make_model_parts(const ModelSizes& sizes,
                                    std::span<const TensorOutline> tensors) {
    if (sizes.n_layers == 0 || sizes.width == 0 || sizes.context_length == 0) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("{}: layers, width and context must not be zero", sizes.name));
    }
    ModelParts model{.sizes = sizes};
    model.layers.resize(sizes.n_layers);
    model.kv_bytes_per_token_layer = std::uint64_t{sizes.kv_heads} * sizes.head_dim * 2 * 2;
    model.tied = std::none_of(tensors.begin(), tensors.end(),
                              [](const auto& t) { return t.name == "output.weight"; });
    for (const auto& tensor : tensors) {
        if (tensor.name.find("_exps.") != std::string::npos) {
            return error(ErrorCode::kUnsupported,
                         fmt::format("{}: '{}': models with experts cannot be planned yet",
                                     sizes.name, tensor.name));
        }
        if (const auto layer = layer_of(tensor.name)) {
            if (*layer < sizes.n_layers) add(model.layers[*layer], tensor);
        } else if (tensor.name == "token_embd.weight") {
            add(model.embedding, tensor);
            if (model.tied) add(model.head, tensor);
        } else {
            add(model.head, tensor);
        }
    }
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
        if (model.layers[i].bytes() > 0) continue;
        return error(ErrorCode::kCorrupt,
                     fmt::format("{}: layer {} has no tensors", sizes.name, i));
    }
    return model;
}

}  // namespace potluck::planner
