#include "engine/open_model.h"

namespace potluck::engine {

Result<OpenModel> open_model(const std::filesystem::path& path,
                             const model::RotaryOverride& rotary) {
    OpenModel model;
    POTLUCK_ASSIGN(model.file, model::gguf::Gguf::open(path));
    POTLUCK_ASSIGN(model.description,
                   model::describe(*model.file, model::arch::architectures(), rotary));
    return model;
}

Result<std::unique_ptr<StageModel>> load_stage(std::shared_ptr<const model::gguf::Gguf> file,
                                               const model::RotaryOverride& rotary,
                                               kernels::Device& device, const ShardOptions& options,
                                               const LoadProgress& progress, WeightPool* pool) {
    POTLUCK_ASSIGN(const auto description,
                   model::describe(*file, model::arch::architectures(), rotary));
    POTLUCK_ASSIGN(auto shard,
                   Shard::load(std::move(file), description, device, options, progress, pool));
    return std::unique_ptr<StageModel>(std::move(shard));
}

}  // namespace potluck::engine
