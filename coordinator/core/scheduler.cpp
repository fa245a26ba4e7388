#include "coordinator/core/scheduler.h"

#include <fmt/format.h>

#include "base/check.h"
#include "coordinator/core/scheduler_state.h"

namespace potluck::coordinator {
namespace {

/// Tokens of an answer, as long as none has ended.
constexpr double kGuessedAnswer = 256;

}  // namespace

Scheduler::Scheduler(SchedulerOptions options, std::shared_ptr<const model::Tokenizer> tokenizer,
                     std::unique_ptr<Speculation> speculation)
    : options_(std::move(options)),
      tokenizer_(std::move(tokenizer)),
      speculation_(std::move(speculation)) {}
Scheduler::~Scheduler() = default;

void Scheduler::start(const PipelineLimits& limits, SchedulerActions& actions) {
    POTLUCK_CHECK(!running() && limits.max_in_flight > 0 && limits.max_batch_rows > 0);
    POTLUCK_CHECK(limits.costs.empty() || limits.costs.size() == limits.stages);
    limits_ = limits;
    pool_ = std::make_unique<KvPool>(KvPoolOptions{.pages = limits.kv_pages,
                                                   .page_tokens = limits.page_tokens,
                                                   .context = limits.context,
                                                   .kept_sequences = options_.kept_sequences,
                                                   .least_shared = options_.least_shared});
    pacing_.emplace(limits.costs.empty() ? guessed_costs(limits.stages) : limits.costs,
                    limits.max_in_flight, limits.max_batch_rows);
    next_batch_ = 1;
    broken_ = false;
    suspended_since_.reset();
    beyond_stages_.reset();
    at_start_ = counters_;
    end_what_does_not_fit(actions);
    take_up_kept();
    pump(actions);
}

/// The most pages that a request can come to need: whole pages of the prompt are shared by its
/// choices.
std::size_t Scheduler::pages_alone(std::size_t prompt, const GenerationRequest& asked) const {
    const std::size_t page = limits_.page_tokens;
    const std::size_t each = (prompt + asked.max_tokens + page - 1) / page;
    const std::size_t shared = asked.n > 1 ? (prompt - 1) / page : 0;
    return shared + asked.n * (each - shared);
}

/// Prompt tokens that are admitted and not yet sent.
std::uint64_t Scheduler::prompt_work_admitted() const {
    std::uint64_t work = 0;
    for (const auto& [number, sequence] : sequences_) {
        if (sequence.choice == 0 || sequence.is_open()) work += sequence.to_feed();
    }
    return work;
}

Status Scheduler::submit(RequestId id, GenerationRequest request, SchedulerActions& actions) {
    if (!running() && !suspended()) return error(ErrorCode::kPeerLost, "no pipeline is running");
    POTLUCK_CHECK(!request.prompt.empty() && request.n > 0);
    if (request.prompt.size() >= limits_.context) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("the prompt has {} tokens, but only {} fit with one of an answer",
                                 request.prompt.size(), limits_.context - 1));
    }
    const auto room = static_cast<std::uint32_t>(limits_.context - request.prompt.size());
    request.max_tokens = request.max_tokens == 0 ? room : std::min(request.max_tokens, room);
    if (request.n > limits_.slots) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{} choices are asked for, this cluster has {} slots", request.n,
                                 limits_.slots));
    }
    if (const std::size_t needed = pages_alone(request.prompt.size(), request);
        needed > limits_.kv_pages) {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("the request may need {} KV pages of {} tokens, this cluster has {}",
                        needed, limits_.page_tokens, limits_.kv_pages));
    }
    if (!knows_speculation(request.speculation)) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("'speculation' is \"{}\", which this cluster does not know: "
                                 "\"off\", \"auto\" and the names of its drafters are",
                                 request.speculation));
    }
    if (queue_.size() >= options_.queue_limit) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("{} requests are waiting already", queue_.size()));
    }
    const std::size_t known = pool_ ? pool_->find(request.tenant, request.prompt).length : 0;
    const std::uint64_t work = request.prompt.size() - std::min(known, request.prompt.size() - 1);
    queue_.push(id, std::move(request), work, prompt_work_admitted(), served_);
    pump(actions);
    return {};
}

void Scheduler::cancel(RequestId id, SchedulerActions& actions) {
    queue_.erase(id);
    if (const auto found = requests_.find(id); found != requests_.end()) {
        for (const std::uint64_t number : found->second.sequences) {
            const auto sequence = sequences_.find(number);
            if (sequence != sequences_.end()) drop(sequence->second, actions);
        }
        requests_.erase(found);
    }
    // Whoever waited behind it may fit now.
    pump(actions);
}

void Scheduler::pump(SchedulerActions& actions) {
    if (!running() || broken_) return;
    while (true) {
        admit();
        while (in_flight_.size() < limits_.max_in_flight && compose(actions)) {
        }
        if (!in_flight_.empty() || sequences_.empty()) return;
        // Prompts hold all pages between them and none can go on: the lowest gives way. The last
        // one fits alone, so this ends.
        Sequence* lowest = lowest_with_pages();
        POTLUCK_CHECK(lowest != nullptr);
        pause(*lowest);
    }
}

void Scheduler::observe(StageIndex stage, const StepSample& sample) {
    if (!pacing_ || stage.value >= limits_.stages) return;
    pacing_->observe(stage, sample);
    stage_work_.resize(std::max(stage_work_.size(), limits_.stages));
    ++stage_work_[stage.value].steps;
    stage_work_[stage.value].compute += sample.time;
}

nanoseconds Scheduler::expected_wait() const {
    if (!running()) return {};
    const auto work = static_cast<double>(queue_.work() + prompt_work_admitted());
    double seconds = work / pacing_->prefill_rate();
    const std::size_t users = std::max<std::size_t>(sequences_.size(), 1);
    if (sequences_.size() + queue_.size() >= limits_.slots) {
        const auto before =
            static_cast<double>(sequences_.size() + queue_.size() + 1 - limits_.slots);
        const std::size_t batches = std::min({limits_.stages, limits_.max_in_flight, users});
        const double cycle = static_cast<double>(pacing_->cycle(users, batches, 0).count()) / 1e9;
        const double answer = usual_answer_ > 0 ? usual_answer_ : kGuessedAnswer;
        seconds += before * cycle * answer / static_cast<double>(limits_.slots);
    }
    return nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

std::size_t Scheduler::paused_sequences() const {
    return static_cast<std::size_t>(std::count_if(sequences_.begin(), sequences_.end(),
                                                  [](const auto& s) { return s.second.paused; }));
}

Recomputed Scheduler::recomputed() const {
    return {.rows = counters_.rows_recomputed - at_start_.rows_recomputed,
            .refilled = counters_.rows_refilled - at_start_.rows_refilled,
            .kept = counters_.rows_kept - at_start_.rows_kept};
}

SchedulerCounters Scheduler::counters() const {
    SchedulerCounters all = counters_;
    all.evictions = evictions_before_ + (pool_ ? pool_->evictions() : 0);
    return all;
}

}  // namespace potluck::coordinator
