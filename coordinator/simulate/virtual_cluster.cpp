#include "coordinator/simulate/virtual_cluster.h"

#include <array>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "engine/step_time.h"
#include "model/gguf/gguf.h"
#include "model/gguf/writer.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::simulate {
namespace {

/// The scheduler wants a tokenizer for the texts of answers. This one knows a single word, so that
/// every other token has no text and none ends an answer; nothing is read from a disk.
Result<std::shared_ptr<const model::Tokenizer>> silent_tokenizer() {
    model::gguf::GgufWriter writer;
    writer.add("tokenizer.ggml.model", std::string("llama"));
    writer.add("tokenizer.ggml.tokens", std::vector<std::string>{"<unk>"});
    writer.add("tokenizer.ggml.scores", std::vector<float>{0});
    writer.add("tokenizer.ggml.token_type", std::vector<std::int32_t>{2});
    POTLUCK_ASSIGN(const auto bytes, writer.to_bytes());
    POTLUCK_ASSIGN(const auto file, model::gguf::Gguf::parse(bytes, "simulated vocabulary"));
    return model::Tokenizer::load(*file);
}

/// Until a stage is measured; the probe below comes before the first batch.
constexpr nanoseconds kGuessedStep = std::chrono::milliseconds(10);
constexpr nanoseconds kGuessedRow = std::chrono::milliseconds(1);
/// The steps that a worker times right after loading, in rows of one new sequence.
constexpr std::array<std::uint32_t, 3> kProbedRows = {1, 8, 64};

TokenId fake_token(const Row& row) {
    const auto drawn =
        philox4x32({static_cast<std::uint32_t>(row.seq.value),
                    static_cast<std::uint32_t>(row.seq.value >> 32), row.position, 0},
                   {0x706F746C, 0x75636B21});
    return static_cast<TokenId>(drawn[0] % static_cast<std::uint32_t>(kVocabulary));
}

/// What the coordinator knows before it has seen a step: how far apart the machines are.
std::vector<coordinator::StageCost> first_costs(const PipelineModel& model) {
    std::vector<coordinator::StageCost> costs;
    const std::size_t stages = model.stages.size();
    for (std::size_t i = 0; i < stages; ++i) {
        const bool last = i + 1 == stages;
        costs.push_back(
            {.curve = coordinator::CostCurve(kGuessedStep, kGuessedRow),
             .hop = model.links[i + 1].delay + (last ? model.links[0].delay : nanoseconds()),
             .hop_per_row = model.wire_time_per_row(i + 1)});
    }
    return costs;
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
    POTLUCK_ASSIGN(auto tokenizer, silent_tokenizer());
    VirtualCluster cluster(model, options, std::move(tokenizer));
    limits.stages = model.stages.size();
    limits.costs = first_costs(model);
    cluster.scheduler_->start(limits, cluster.actions_);
    cluster.actions_.clear();
    for (std::uint32_t stage = 0; stage < limits.stages; ++stage) {
        for (const std::uint32_t rows : kProbedRows) {
            if (rows > limits.max_batch_rows) continue;
            const std::uint64_t keys = std::uint64_t{rows} * (rows + 1) / 2;
            cluster.scheduler_->observe(
                StageIndex(stage),
                {.rows = rows, .keys = keys, .time = model.stages[stage].time(rows, keys)});
        }
    }
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
