#include "worker/service/load_job.h"

#include <fmt/format.h>

#include "engine/open_model.h"

namespace potluck::worker {

LoadJob load_job(const StagePart& part, const proto::Plan& p) {
    engine::ShardOptions shard;
    shard.part = {part.layer_begin, part.layer_end, part.embedding, part.head};
    shard.max_rows = p.max_batch_rows();
    shard.max_length = p.context();
    shard.kv_pages = p.kv_pages();
    shard.kv = part.kv;
    const std::size_t in = part.config.input_width;
    const std::size_t out = part.config.output_width;
    return [shard, in, out, rotary = part.rotary, path = p.model().path(),
            bytes = p.model().file_bytes()](
               const LoadContext& context) -> Result<std::unique_ptr<engine::StageModel>> {
        engine::ShardOptions options = shard;
        options.cancelled = context.cancelled;
        POTLUCK_ASSIGN(auto model, engine::load_stage(path, bytes, rotary, context.device, options,
                                                      context.progress, &context.weights));
        if (model->input_width() != in || model->output_width() != out) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("{}: rows are {} and {} wide, the plan says {} and {}", path,
                                     model->input_width(), model->output_width(), in, out));
        }
        return model;
    };
}

}  // namespace potluck::worker
