#include "worker/service/load_job.h"

#include <fmt/format.h>

#include "engine/open_model.h"

namespace potluck::worker {

LoadJob load_job(const StagePart& part, const proto::Plan& p, const ModelFiles& files) {
    engine::ShardOptions shard;
    shard.part = {part.layer_begin, part.layer_end, part.embedding, part.head};
    shard.max_rows = p.max_batch_rows();
    shard.max_length = p.context();
    shard.kv_pages = p.kv_pages();
    shard.kv = part.kv;
    const std::size_t in = part.config.input_width;
    const std::size_t out = part.config.output_width;
    const ModelPart wanted_part{p.model(), shard.part, part.rotary};
    return [shard, in, out, wanted_part, &files, wanted = files.token()](
               kernels::Device& device,
               const LoadReport& report) -> Result<std::unique_ptr<engine::StageModel>> {
        POTLUCK_ASSIGN(
            auto file, files.open(wanted_part, wanted, [&](const weights::Transfer& transfer) {
                report({transfer.hashing ? LoadState::Phase::kHashing : LoadState::Phase::kFetching,
                        transfer.done, transfer.total, transfer.bytes_per_second});
            }));
        const std::string name = file->name();
        POTLUCK_ASSIGN(auto model,
                       engine::load_stage(std::move(file), wanted_part.rotary, device, shard,
                                          [&](std::uint64_t done, std::uint64_t total) {
                                              report({.done_bytes = done, .total_bytes = total});
                                          }));
        if (model->input_width() != in || model->output_width() != out) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("{}: rows are {} and {} wide, the plan says {} and {}", name,
                                     model->input_width(), model->output_width(), in, out));
        }
        return model;
    };
}

proto::Control progress_message(const proto::FrameRoute& route, const LoadState& state) {
    proto::Control message;
    auto& progress = *message.mutable_progress();
    progress.set_epoch(route.epoch.value);
    progress.set_pipeline(route.pipeline.value);
    progress.set_stage(route.stage.value);
    progress.set_done_bytes(state.done_bytes);
    progress.set_total_bytes(state.total_bytes);
    progress.set_phase(static_cast<proto::Progress::Phase>(state.phase));
    progress.set_bytes_per_second(state.bytes_per_second);
    return message;
}

}  // namespace potluck::worker
