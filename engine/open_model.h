#pragma once

// From a path to a model that this build can run.

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "engine/shard.h"
#include "model/gguf/gguf.h"
#include "model/graph/architecture.h"

namespace potluck::engine {

struct OpenModel {
    std::shared_ptr<const model::gguf::Gguf> file;
    model::ModelDescription description;
};

Result<OpenModel> open_model(const std::filesystem::path& path,
                             const model::RotaryOverride& rotary = {});

/// Loads a part of `file`, but for what `pool` has.
Result<std::unique_ptr<StageModel>> load_stage(std::shared_ptr<const model::gguf::Gguf> file,
                                               const model::RotaryOverride& rotary,
                                               kernels::Device& device, const ShardOptions& options,
                                               const LoadProgress& progress,
                                               WeightPool* pool = nullptr);

}  // namespace potluck::engine
