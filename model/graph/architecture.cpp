#include "model/graph/architecture.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "model/graph/rotary.h"

namespace potluck::model {
namespace {

std::string shape_text(const gguf::TensorInfo& tensor) {
    std::string text = fmt::format("{{{}", tensor.dims[0]);
    for (std::uint32_t i = 1; i < std::max(tensor.n_dims, 1U); ++i)
        text += fmt::format(", {}", tensor.dims[i]);
    return text + "}";
}

bool vector_type(TensorType type) {
    return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

/// Empty if the tensor is what the graph needs, else what is wrong with it.
std::string problem(const gguf::Gguf& file, const WeightSpec& spec, const ModelConfig& config) {
    const auto* tensor = file.find_tensor(spec.name);
    if (tensor == nullptr) return fmt::format("'{}' is missing", spec.name);
    const bool vocabulary_rows = spec.rows == 0;
    const bool rows_fit =
        vocabulary_rows ? tensor->rows() >= config.vocabulary : tensor->rows() == spec.rows;
    if (tensor->dims[0] != spec.columns || !rows_fit || tensor->dims[2] != 1 ||
        tensor->dims[3] != 1) {
        return fmt::format("'{}' has shape {}, expected {{{}, {}{}}}", spec.name,
                           shape_text(*tensor), spec.columns, vocabulary_rows ? "at least " : "",
                           vocabulary_rows ? config.vocabulary : spec.rows);
    }
    if (spec.use == WeightUse::kVector && !vector_type(tensor->type)) {
        return fmt::format("'{}' has type {}, expected F32, F16 or BF16", spec.name,
                           to_string(tensor->type));
    }
    if (!info(tensor->type).weight) {
        std::vector<std::string_view> supported;
        for (const auto& t : tensor_types())
            if (t.weight) supported.push_back(t.name);
        return fmt::format("'{}' has type {}, which is not supported (supported: {})", spec.name,
                           to_string(tensor->type), fmt::join(supported, " "));
    }
    return {};
}

/// The head's bias has one value for each row of the head, padding included.
void match_head_bias(const gguf::Gguf& file, Graph& graph) {
    const Node& node = graph.head.back();
    if (node.bias == kNoWeight) return;
    if (const auto* matrix = file.find_tensor(graph.weights[node.weight].name)) {
        graph.weights[node.bias].columns = matrix->rows();
    }
}

}  // namespace

Result<ModelDescription> describe(const gguf::Gguf& file,
                                  std::span<const Architecture* const> known,
                                  const RotaryOverride& rotary) {
    POTLUCK_ASSIGN(const std::string_view name, file.get_string("general.architecture"));
    for (const auto* architecture : known) {
        if (architecture->name != name) continue;
        POTLUCK_ASSIGN(ModelConfig config, architecture->read_config(file));
        POTLUCK_TRY(override_rotary(file, rotary, config));
        return ModelDescription{architecture, std::move(config)};
    }
    std::vector<std::string_view> names;
    for (const auto* architecture : known)
        names.push_back(architecture->name);
    return error(ErrorCode::kUnsupported,
                 fmt::format("{}: architecture '{}' is not supported (supported: {})", file.name(),
                             name, fmt::join(names, " ")));
}

Result<Graph> build_shard(const gguf::Gguf& file, const ModelDescription& model,
                          const ShardSpec& shard) {
    if (shard.begin > shard.end || shard.end > model.config.n_layers) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("layers {}..{} are not within the model's {}", shard.begin,
                                 shard.end, model.config.n_layers));
    }
    GraphBuilder builder(model.config, shard,
                         [&](std::string_view name) { return file.find_tensor(name) != nullptr; });
    model.architecture->build(builder, model.config);
    Graph graph = builder.take();
    if (shard.head) match_head_bias(file, graph);
    std::vector<std::string> problems;
    for (auto& spec : graph.weights) {
        if (std::string text = problem(file, spec, model.config); !text.empty()) {
            problems.push_back(std::move(text));
        } else if (spec.rows == 0) {
            spec.rows = file.find_tensor(spec.name)->rows();
        }
    }
    if (!problems.empty()) {
        return error(ErrorCode::kUnsupported,
                     fmt::format("{}: {} of the {} tensors that layers {}..{} need do not fit: {}",
                                 file.name(), problems.size(), graph.weights.size(), shard.begin,
                                 shard.end, fmt::join(problems, "; ")));
    }
    // The head's rows are the file's; padding beyond the vocabulary is computed and never sampled.
    if (shard.head) {
        const auto& spec = graph.weights[graph.head.back().weight];
        graph.widths[graph.logits.index] = static_cast<std::uint32_t>(spec.rows);
    }
    return graph;
}

Footprint footprint(const gguf::Gguf& file, const ModelConfig& config) {
    Footprint result;
    result.layer_bytes.resize(config.n_layers);
    result.tied = file.find_tensor("output.weight") == nullptr;
    for (const auto& tensor : file.tensors()) {
        unsigned layer = 0;
        const std::string name(tensor.name);
        if (std::sscanf(name.c_str(), "blk.%u.", &layer) == 1) {
            if (layer < config.n_layers) result.layer_bytes[layer] += tensor.bytes;
        } else if (name == "token_embd.weight") {
            result.embedding_bytes += tensor.bytes;
            if (result.tied) result.head_bytes += tensor.bytes;
        } else {
            result.head_bytes += tensor.bytes;
        }
    }
    return result;
}

std::uint64_t kv_bytes_per_token_layer(const ModelConfig& config, const KvTypes& types) {
    return config.kv_heads * (std::uint64_t{kv_row_bytes(types.k, config.head_dim)} +
                              kv_row_bytes(types.v, config.head_dim));
}

}  // namespace potluck::model
