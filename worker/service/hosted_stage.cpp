#include "worker/service/hosted_stage.h"

#include <fmt/format.h>

#include <utility>

#include "proto/frame.h"

namespace potluck::worker {
namespace {

// Bounds on what a plan may ask of one worker.
constexpr std::uint32_t kMaxStages = 1024;
constexpr std::uint32_t kMaxInFlight = 4 * kMaxStages + 4;
constexpr std::uint32_t kMaxBatchRows = 1U << 14;

}  // namespace

Result<std::vector<StagePart>> parts_of(const proto::Plan& plan, std::uint32_t node,
                                        std::size_t devices) {
    const auto bad = [](std::string what) {
        return error(ErrorCode::kInvalidArgument, "plan: " + std::move(what));
    };
    if (plan.max_in_flight() == 0 || plan.max_in_flight() > kMaxInFlight) {
        return bad(fmt::format("max_in_flight is {}", plan.max_in_flight()));
    }
    if (plan.max_batch_rows() == 0 || plan.max_batch_rows() > kMaxBatchRows) {
        return bad(fmt::format("max_batch_rows is {}", plan.max_batch_rows()));
    }
    if (plan.context() == 0 || plan.kv_pages() == 0 || plan.kv_pages() > (1U << 30)) {
        return bad(fmt::format("context is {}, kv_pages is {}", plan.context(), plan.kv_pages()));
    }
    if (plan.model().width() == 0 || plan.model().width() > proto::kMaxRowWidth) {
        return bad(fmt::format("the model's width is {}", plan.model().width()));
    }
    KvTypes kv;
    for (const auto& [name, type] :
         {std::pair(&plan.kv_k_type(), &kv.k), std::pair(&plan.kv_v_type(), &kv.v)}) {
        if (name->empty()) continue;  // f16
        const auto known = parse_kv_type(*name);
        if (!known) return bad(fmt::format("KV type '{}' is not known to this worker", *name));
        *type = *known;
    }
    const auto rotary =
        model::make_rotary_override(plan.rope_scaling(), plan.rope_factor(), plan.rope_base());
    if (!rotary) return bad(rotary.error().message);
    std::vector<StagePart> parts;
    for (int p = 0; p < plan.pipelines_size(); ++p) {
        const auto& stages = plan.pipelines(p).stages();
        if (stages.empty() || static_cast<std::uint32_t>(stages.size()) > kMaxStages) {
            return bad(fmt::format("pipeline {} has {} stages", p, stages.size()));
        }
        for (int s = 0; s < stages.size(); ++s) {
            const auto& stage = stages[s];
            if (stage.node_id() != node) continue;
            if (stage.device() >= devices) {
                return bad(
                    fmt::format("stage {} is for device {} of {}", s, stage.device(), devices));
            }
            if (stage.layer_begin() > stage.layer_end() || stage.embedding() != (s == 0) ||
                stage.head() != (s + 1 == stages.size())) {
                return bad(fmt::format("stage {} of {} has layers {}..{}, embedding {}, head {}", s,
                                       stages.size(), stage.layer_begin(), stage.layer_end(),
                                       stage.embedding(), stage.head()));
            }
            StagePart part{.device = stage.device(),
                           .layer_begin = stage.layer_begin(),
                           .layer_end = stage.layer_end(),
                           .embedding = stage.embedding(),
                           .head = stage.head(),
                           .kv = kv,
                           .rotary = *rotary};
            part.config.route = {Epoch(plan.epoch()), PipelineId(static_cast<std::uint32_t>(p)),
                                 StageIndex(static_cast<std::uint32_t>(s))};
            part.config.stages = static_cast<std::size_t>(stages.size());
            part.config.input_width = stage.embedding() ? 0 : plan.model().width();
            part.config.output_width = stage.head() ? 0 : plan.model().width();
            part.config.max_rows = plan.max_batch_rows();
            part.config.max_in_flight = plan.max_in_flight();
            parts.push_back(part);
        }
    }
    return parts;
}

}  // namespace potluck::worker
