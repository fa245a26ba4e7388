#include "coordinator/simulate/virtual_cluster.h"

#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "coordinator/simulate/scheduler_parts.h"
#include "engine/step_time.h"

namespace potluck::simulate {
namespace {

TokenId fake_token(const Row& row) {
    const auto drawn =
        philox4x32({static_cast<std::uint32_t>(row.seq.value),
                    static_cast<std::uint32_t>(row.seq.value >> 32), row.position, 0},
                   {0x706F746C, 0x75636B21});
    return static_cast<TokenId>(drawn[0] % static_cast<std::uint32_t>(kVocabulary));
}

}  // namespace

VirtualCluster::VirtualCluster(const PipelineModel& model,
                               const coordinator::SchedulerOptions& options,
                               std::shared_ptr<const model::Tokenizer> tokenizer)
    : pipeline_(model),
      scheduler_(std::make_unique<coordinator::Scheduler>(options, std::move(tokenizer))) {}

Result<VirtualCluster> VirtualCluster::make(const PipelineModel& model,
                                            coordinator::PipelineLimits limits,
                                            const coordinator::SchedulerOptions& options) {
    POTLUCK_ASSIGN(auto tokenizer, simulated_tokenizer(0));
    VirtualCluster cluster(model, options, std::move(tokenizer));
    limits.stages = model.stages.size();
    limits.costs = first_costs(model);
    cluster.scheduler_->start(limits, cluster.actions_);
    cluster.actions_.clear();
    probe(model, limits.max_batch_rows, *cluster.scheduler_);
    return cluster;
}

void VirtualCluster::send(nanoseconds now, const Batch& batch) {
    Step step{.size = {.rows = batch.rows.size(), .keys = engine::keys_of(batch)}, .sent = now};
    step.result.batch = batch.id;
    for (const Row& row : batch.rows) {
        if ((row.flags & kRowSample) == 0) continue;
        step.result.rows.push_back({.seq = row.seq,
                                    .position = row.position,
                                    .generation = row.generation,
                                    .token = fake_token(row)});
    }
    step.size.sampled = step.result.rows.size();
    step.back = pipeline_.send(now, step.size);
    const auto passages = pipeline_.passages();
    step.passages.assign(passages.begin(), passages.end());
    under_way_.push_back(std::move(step));
}

void VirtualCluster::act(nanoseconds now, coordinator::SchedulerActions& told) {
    for (auto& action : actions_) {
        if (const auto* batch = std::get_if<coordinator::SendBatch>(&action)) {
            send(now, batch->batch);
        } else if (!std::holds_alternative<coordinator::SendCancel>(action)) {
            told.push_back(std::move(action));
        }
    }
    actions_.clear();
}

Status VirtualCluster::submit(nanoseconds now, RequestId id, coordinator::GenerationRequest request,
                              coordinator::SchedulerActions& told) {
    Status taken = scheduler_->submit(id, std::move(request), actions_);
    act(now, told);
    return taken;
}

std::optional<nanoseconds> VirtualCluster::next() const {
    if (under_way_.empty()) return std::nullopt;
    return under_way_.front().back;
}

Result<const Step*> VirtualCluster::take(coordinator::SchedulerActions& told) {
    POTLUCK_CHECK(!under_way_.empty());
    taken_ = std::move(under_way_.front());
    under_way_.pop_front();
    for (std::uint32_t stage = 0; stage < taken_.passages.size(); ++stage) {
        const Passage& at = taken_.passages[stage];
        scheduler_->observe(StageIndex(stage),
                            {.rows = static_cast<std::uint32_t>(taken_.size.rows),
                             .keys = taken_.size.keys,
                             .time = at.ends - at.begins});
    }
    POTLUCK_TRY(scheduler_->on_result(taken_.result, actions_));
    act(taken_.back, told);
    return &taken_;
}

}  // namespace potluck::simulate
