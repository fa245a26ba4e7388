#pragma once

// An architecture is one file in model/arch: its name, how to read its hyper-parameters, and its
// forward pass. The registry is generated from the folder's files.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/kv_type.h"
#include "base/result.h"
#include "model/gguf/gguf.h"
#include "model/graph/config.h"
#include "model/graph/graph.h"

namespace potluck::model {

struct Architecture {
    std::string_view name;  ///< general.architecture
    Result<ModelConfig> (*read_config)(const gguf::Gguf& file) = nullptr;
    void (*build)(GraphBuilder& b, const ModelConfig& config) = nullptr;
};

namespace arch {
/// Every architecture of this build (generated).
std::span<const Architecture* const> architectures();
}  // namespace arch

/// A model file that this build can run: architecture found, hyper-parameters read.
struct ModelDescription {
    const Architecture* architecture = nullptr;
    ModelConfig config;
};
/// kUnsupported naming the file's architecture and those of `known`.
Result<ModelDescription> describe(const gguf::Gguf& file,
                                  std::span<const Architecture* const> known,
                                  const RotaryOverride& rotary = {});

/// Builds the graph of a shard and checks every tensor that it needs (name, shape, type). The error
/// lists all that is missing or odd, not only the first.
Result<Graph> build_shard(const gguf::Gguf& file, const ModelDescription& model,
                          const ShardSpec& shard);

/// What a model weighs, for planning before anything is loaded. Bytes as in the file.
struct Footprint {
    std::vector<std::uint64_t> layer_bytes;
    std::uint64_t embedding_bytes = 0;
    std::uint64_t head_bytes = 0;  ///< with tied weights the embedding matrix again
    bool tied = false;             ///< head and embedding are one matrix
};
Footprint footprint(const gguf::Gguf& file, const ModelConfig& config);
/// Keys and values of one position in one layer; the types fit the model's heads.
std::uint64_t kv_bytes_per_token_layer(const ModelConfig& config, const KvTypes& types);

}  // namespace potluck::model
