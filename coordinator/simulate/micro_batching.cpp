#include "coordinator/simulate/micro_batching.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "coordinator/simulate/virtual_cluster.h"

namespace potluck::simulate {
namespace {

constexpr std::size_t kConstantRounds = 48;

double seconds(nanoseconds time) {
    return std::chrono::duration<double>(time).count();
}

/// What the scheduler does once all users decode.
class DecodeRun {
  public:
    DecodeRun(VirtualCluster cluster, const MicroBatchingOptions& what)
        : cluster_(std::move(cluster)), what_(what), tokens_(what.users) {}

    Status ask_all();
    Status measure(MicroBatchingResult& result);

  private:
    Result<const Step*> take();

    VirtualCluster cluster_;
    MicroBatchingOptions what_;
    coordinator::SchedulerActions told_;
    std::vector<std::uint64_t> tokens_;  ///< by user
    std::size_t started_ = 0;
    std::size_t ended_ = 0;
    std::uint64_t all_tokens_ = 0;
};

Status DecodeRun::ask_all() {
    for (std::size_t user = 0; user < what_.users; ++user) {
        coordinator::GenerationRequest request;
        // No prompt begins like another: nothing can be shared.
        for (std::size_t i = 0; i < what_.prompt; ++i)
            request.prompt.push_back(static_cast<TokenId>((user * what_.prompt + i) % kVocabulary));
        request.ignore_eos = true;
        POTLUCK_TRY(cluster_.submit({}, RequestId(user), std::move(request), told_));
        told_.clear();
    }
    return {};
}

Result<const Step*> DecodeRun::take() {
    if (!cluster_.next()) return error(ErrorCode::kInternal, "nothing is under way");
    POTLUCK_ASSIGN(const Step* const step, cluster_.take(told_));
    for (const auto& action : told_) {
        if (const auto* delta = std::get_if<coordinator::EmitDelta>(&action)) {
            const std::size_t n = delta->delta.tokens.size();
            auto& tokens = tokens_[delta->request.value];
            started_ += tokens == 0 && n > 0 ? 1 : 0;
            tokens += n;
            all_tokens_ += n;
        } else if (std::holds_alternative<coordinator::EmitDone>(action)) {
            ++ended_;
        }
    }
    told_.clear();
    return step;
}

Status DecodeRun::measure(MicroBatchingResult& result) {
    nanoseconds begin{};
    while (started_ < what_.users) {
        POTLUCK_TRY(take());
    }
    const std::uint64_t settled = all_tokens_ + what_.settle * what_.users;
    while (all_tokens_ < settled) {
        POTLUCK_ASSIGN(const Step* const step, take());
        begin = step->back;
    }
    const std::uint64_t before = all_tokens_;
    std::uint64_t rows = 0, keys = 0, batches = 0;
    nanoseconds end = begin;
    while (all_tokens_ < before + what_.rounds * what_.users) {
        POTLUCK_ASSIGN(const Step* const step, take());
        rows += step->size.rows;
        keys += step->size.keys;
        ++batches;
        end = step->back;
    }
    if (ended_ > 0) return error(ErrorCode::kInternal, "an answer ended before all were measured");
    result.tokens_per_second = static_cast<double>(all_tokens_ - before) / seconds(end - begin);
    result.rows_per_batch = static_cast<double>(rows) / static_cast<double>(batches);
    result.keys_per_row = static_cast<double>(keys) / static_cast<double>(rows);
    return {};
}

}  // namespace

ConstantBatching constant_micro_batching(const PipelineModel& model, std::size_t users,
                                         std::size_t micro_batches, double keys_per_row) {
    POTLUCK_CHECK(micro_batches > 0 && micro_batches <= users);
    ModelledPipeline pipeline(model);
    std::vector<BatchSize> sizes(micro_batches);
    for (std::size_t i = 0; i < micro_batches; ++i) {
        const std::size_t rows = users / micro_batches + (i < users % micro_batches ? 1 : 0);
        const double keys = keys_per_row * static_cast<double>(rows);
        sizes[i] = {rows, static_cast<std::uint64_t>(std::llround(keys)), rows};
    }
    // Each batch leaves again as soon as its result is back; the order never changes.
    std::vector<nanoseconds> back(micro_batches);
    nanoseconds begin{};
    for (std::size_t round = 0; round < 2 * kConstantRounds; ++round) {
        if (round == kConstantRounds) begin = back.back();
        for (std::size_t i = 0; i < micro_batches; ++i)
            back[i] = pipeline.send(back[i], sizes[i]);
    }
    const auto tokens = static_cast<double>(users * kConstantRounds);
    return {micro_batches, tokens / seconds(back.back() - begin)};
}

Result<MicroBatchingResult> compare_micro_batching(const SimulationOptions& options,
                                                   const MicroBatchingOptions& what) {
    coordinator::PipelineLimits limits = options.limits;
    coordinator::SchedulerOptions scheduler = options.scheduler;
    // Users who start early go on while the others' prompts are computed.
    const std::size_t prefill = what.users * what.prompt;
    limits.context = what.prompt + 2 * (what.settle + what.rounds) + prefill;
    limits.slots = std::max(limits.slots, what.users);
    const std::size_t pages = (limits.context + limits.page_tokens - 1) / limits.page_tokens;
    limits.kv_pages = std::max(limits.kv_pages, what.users * pages);
    scheduler.queue_limit = std::max(scheduler.queue_limit, what.users);
    POTLUCK_ASSIGN(auto cluster, VirtualCluster::make(options.pipeline, limits, scheduler));
    MicroBatchingResult result;
    DecodeRun run(std::move(cluster), what);
    POTLUCK_TRY(run.ask_all());
    POTLUCK_TRY(run.measure(result));
    const std::size_t most = std::min(
        what.users, std::max(limits.max_in_flight, 3 * options.pipeline.stages.size() + 2));
    for (std::size_t m = 1; m <= most; ++m) {
        result.tried.push_back(
            constant_micro_batching(options.pipeline, what.users, m, result.keys_per_row));
        if (result.tried.back().tokens_per_second > result.best.tokens_per_second)
            result.best = result.tried.back();
    }
    return result;
}

}  // namespace potluck::simulate
