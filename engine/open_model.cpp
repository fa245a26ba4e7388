#include "engine/open_model.h"

#include <fmt/format.h>

namespace potluck::engine {

Result<OpenModel> open_model(const std::filesystem::path& path,
                             const model::RotaryOverride& rotary) {
    OpenModel model;
    POTLUCK_ASSIGN(model.file, model::gguf::Gguf::open(path));
    POTLUCK_ASSIGN(model.description,
                   model::describe(*model.file, model::arch::architectures(), rotary));
    return model;
}

Result<std::unique_ptr<StageModel>> load_stage(const std::filesystem::path& path,
                                               std::uint64_t expected_bytes,
                                               const model::RotaryOverride& rotary,
                                               kernels::Device& device, const ShardOptions& options,
                                               const LoadProgress& progress, WeightPool* pool) {
    POTLUCK_ASSIGN(const OpenModel model, open_model(path, rotary));
    if (expected_bytes != 0 && model.file->file_bytes() != expected_bytes) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("{} has {} bytes here, the coordinator's has {}", path.string(),
                                 model.file->file_bytes(), expected_bytes));
    }
    POTLUCK_ASSIGN(auto shard,
                   Shard::load(model.file, model.description, device, options, progress, pool));
    return std::unique_ptr<StageModel>(std::move(shard));
}

}  // namespace potluck::engine
