#include "worker/service/load_job.h"

#include <fmt/format.h>

#include "engine/open_model.h"

namespace potluck::worker {

namespace {

/// Null if the part is to keep nothing.
std::shared_ptr<const engine::KeepRequest> keep_request(const proto::Keep& keep,
                                                        const model::ShardSpec& part) {
    if (keep.epoch() == 0 || keep.from_layer() >= part.end) return nullptr;
    auto request = std::make_shared<engine::KeepRequest>();
    request->epoch = Epoch(keep.epoch());
    request->from = keep.from_layer();
    for (const auto& kept : keep.sequences())
        request->sequences.push_back({SeqId(kept.seq()), kept.positions()});
    return request;
}

}  // namespace

LoadJob load_job(const StagePart& part, const proto::Prepare& prepare, const ModelFiles& files,
                 const std::shared_ptr<const engine::StageDrafter>& drafter) {
    const proto::Plan& p = prepare.plan();
    engine::ShardOptions shard;
    shard.part = {part.layer_begin, part.layer_end, part.embedding, part.head};
    shard.max_rows = p.max_batch_rows();
    shard.max_length = p.context();
    shard.kv_pages = p.kv_pages();
    shard.kv = part.kv;
    shard.epoch = Epoch(p.epoch());
    shard.keep = keep_request(prepare.keep(), shard.part);
    if (part.head) shard.drafter = drafter;
    const std::size_t in = part.config.input_width;
    const std::size_t out = part.config.output_width;
    const ModelPart wanted{p.model(), shard.part, part.rotary};
    return [shard, in, out, wanted,
            &files](const LoadContext& context) -> Result<std::unique_ptr<engine::StageModel>> {
        engine::ShardOptions options = shard;
        options.cancelled = context.cancelled;
        options.keeper = &context.pages;
        POTLUCK_ASSIGN(
            auto file,
            files.open(wanted, context.cancelled, [&](const weights::Transfer& transfer) {
                context.report(
                    {transfer.hashing ? LoadState::Phase::kHashing : LoadState::Phase::kFetching,
                     transfer.done, transfer.total, transfer.bytes_per_second});
            }));
        const std::string name = file->name();
        const engine::LoadProgress progress = [&](std::uint64_t done, std::uint64_t total) {
            context.report({.done_bytes = done, .total_bytes = total});
        };
        POTLUCK_ASSIGN(auto model,
                       engine::load_stage(std::move(file), wanted.rotary, context.device, options,
                                          progress, &context.weights));
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

proto::Control prepared_message(const proto::Plan& plan,
                                const std::vector<std::unique_ptr<HostedStage>>& stages,
                                std::uint64_t read_bytes, const std::string& problem) {
    proto::Control message;
    auto& prepared = *message.mutable_prepared();
    prepared.set_epoch(plan.epoch());
    prepared.set_error(proto::to_utf8(problem));
    prepared.set_read_bytes(read_bytes);
    for (const auto& stage : stages) {
        const auto& route = stage->core.config().route;
        auto& s = *prepared.add_stages();
        s.set_pipeline(route.pipeline.value);
        s.set_stage(route.stage.value);
        s.set_kv_pages(plan.kv_pages());
        s.set_kept(stage->kept);
    }
    return message;
}

}  // namespace potluck::worker
