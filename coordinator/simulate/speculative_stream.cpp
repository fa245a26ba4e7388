#include "coordinator/simulate/speculative_stream.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "coordinator/core/plan.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/simulate/cancelling_pipeline.h"
#include "coordinator/simulate/scheduler_parts.h"

namespace potluck::simulate {
namespace {

constexpr std::size_t kContext = std::size_t{1} << 17;
constexpr std::size_t kPageTokens = 64;
constexpr std::size_t kPagesOfContexts = 4;  ///< what was asked before may stay

double per_second(std::size_t tokens, nanoseconds time) {
    return time.count() > 0 ? static_cast<double>(tokens) * 1e9 / static_cast<double>(time.count())
                            : 0;
}

}  // namespace

class SpeculativeStreams::Cluster {
  public:
    Cluster(const StreamModel& model, std::shared_ptr<const model::Tokenizer> tokenizer,
            std::unique_ptr<coordinator::Speculation> speculation);

    struct Answer {
        std::vector<nanoseconds> times;  ///< of tokens, from the first one on
        std::uint64_t rows = 0;
        coordinator::SpeculationReport report;
    };
    Result<Answer> ask(const StreamTrace& trace, const std::string& choice);

  private:
    void act(coordinator::SchedulerActions& actions, Answer& answer);
    Status take(BatchId id, const StreamTrace& trace, Answer& answer);

    CancellingPipeline pipeline_;
    coordinator::Scheduler scheduler_;
    std::map<BatchId, StepResult> under_way_;  ///< tokens are filled in when they are back
    std::uint64_t next_request_ = 1;
    nanoseconds now_{};
    bool done_ = false;
};

SpeculativeStreams::Cluster::Cluster(const StreamModel& model,
                                     std::shared_ptr<const model::Tokenizer> tokenizer,
                                     std::unique_ptr<coordinator::Speculation> speculation)
    : pipeline_(model.pipeline, model.layers, model.cancels),
      scheduler_({}, std::move(tokenizer), std::move(speculation)) {
    coordinator::PipelineLimits limits{.stages = model.pipeline.stages.size(),
                                       .kv_pages = kPagesOfContexts * kContext / kPageTokens,
                                       .page_tokens = kPageTokens,
                                       .context = kContext};
    limits.max_in_flight = coordinator::most_in_flight(limits.stages);
    limits.costs = first_costs(model.pipeline);
    coordinator::SchedulerActions actions;
    scheduler_.start(limits, actions);
    probe(model.pipeline, limits.max_batch_rows, scheduler_);
}

void SpeculativeStreams::Cluster::act(coordinator::SchedulerActions& actions, Answer& answer) {
    for (const auto& action : actions) {
        if (const auto* send = std::get_if<coordinator::SendBatch>(&action)) {
            StepResult result{.batch = send->batch.id};
            for (const Row& row : send->batch.rows) {
                if ((row.flags & kRowSample) == 0) continue;
                result.rows.push_back(
                    {.seq = row.seq, .position = row.position, .generation = row.generation});
            }
            under_way_.emplace(result.batch, std::move(result));
            pipeline_.send(now_, send->batch);
        } else if (const auto* cancel = std::get_if<coordinator::SendCancel>(&action)) {
            pipeline_.cancel(now_, cancel->seq, cancel->generation);
        } else if (const auto* delta = std::get_if<coordinator::EmitDelta>(&action)) {
            answer.times.resize(answer.times.size() + delta->delta.tokens.size(), now_);
        } else if (const auto* all = std::get_if<coordinator::EmitDone>(&action)) {
            if (all->usage.speculation) answer.report = *all->usage.speculation;
            done_ = true;
        }
    }
    actions.clear();
}

/// The model says what the trace says, whatever stands at a row.
Status SpeculativeStreams::Cluster::take(BatchId id, const StreamTrace& trace, Answer& answer) {
    auto node = under_way_.extract(id);
    StepResult& result = node.mapped();
    for (auto& row : result.rows) {
        const std::size_t next =
            row.position + 1 - std::min(trace.prompt.size(), std::size_t{row.position} + 1);
        row.token = trace.answer[std::min(next, trace.answer.size() - 1)];
    }
    for (const auto& computed : pipeline_.take_computed())
        scheduler_.observe(computed.stage, computed.sample);
    scheduler_.set_time(now_);
    coordinator::SchedulerActions actions;
    POTLUCK_TRY(scheduler_.on_result(result, actions));
    act(actions, answer);
    return {};
}

Result<SpeculativeStreams::Cluster::Answer> SpeculativeStreams::Cluster::ask(
    const StreamTrace& trace, const std::string& choice) {
    Answer answer;
    coordinator::SchedulerActions actions;
    coordinator::GenerationRequest request{
        .prompt = trace.prompt,
        .max_tokens = static_cast<std::uint32_t>(trace.answer.size()),
        .tenant = trace.tenant,
        .speculation = choice};
    done_ = false;
    scheduler_.set_time(now_);
    POTLUCK_TRY(scheduler_.submit(RequestId(next_request_++), std::move(request), actions));
    act(actions, answer);
    std::uint64_t before = 0;
    while (!done_) {
        const auto at = pipeline_.next();
        if (!at) return error(ErrorCode::kInternal, "a stream is open, but nothing is under way");
        now_ = *at;
        const auto back = pipeline_.step();
        if (!back) continue;
        const bool first = answer.times.empty();
        POTLUCK_TRY(take(*back, trace, answer));
        if (first && !answer.times.empty()) before = pipeline_.rows();
    }
    answer.rows = pipeline_.rows() - before;
    return answer;
}

SpeculativeStreams::SpeculativeStreams(std::unique_ptr<Cluster> cluster)
    : cluster_(std::move(cluster)) {}
SpeculativeStreams::SpeculativeStreams(SpeculativeStreams&&) noexcept = default;
SpeculativeStreams::~SpeculativeStreams() = default;

Result<SpeculativeStreams> SpeculativeStreams::make(
    const StreamModel& model, std::unique_ptr<coordinator::Speculation> speculation) {
    POTLUCK_ASSIGN(auto tokenizer, simulated_tokenizer(kVocabulary));
    return SpeculativeStreams(
        std::make_unique<Cluster>(model, std::move(tokenizer), std::move(speculation)));
}

Result<StreamFigures> SpeculativeStreams::run(const StreamTrace& trace, const std::string& choice) {
    POTLUCK_CHECK(!trace.prompt.empty() && trace.answer.size() > 1);
    POTLUCK_ASSIGN(const auto plain, cluster_->ask(trace, "off"));
    POTLUCK_ASSIGN(const auto drafted, cluster_->ask(trace, choice));
    POTLUCK_CHECK(plain.times.size() == trace.answer.size() &&
                  drafted.times.size() == trace.answer.size());
    StreamFigures figures{.tokens = trace.answer.size() - 1,
                          .took = drafted.times.back() - drafted.times.front(),
                          .plain = plain.times.back() - plain.times.front(),
                          .rows = drafted.rows,
                          .report = drafted.report};
    for (std::size_t i = 0; i < plain.times.size(); ++i) {
        figures.behind = std::max(figures.behind, (drafted.times[i] - drafted.times.front()) -
                                                      (plain.times[i] - plain.times.front()));
    }
    return figures;
}

double StreamFigures::gain() const {
    return took.count() > 0 ? static_cast<double>(plain.count()) / static_cast<double>(took.count())
                            : 1;
}
double StreamFigures::tokens_per_second() const {
    return per_second(tokens, took);
}
double StreamFigures::plain_per_second() const {
    return per_second(tokens, plain);
}

double window_of(const PipelineModel& pipeline, std::uint64_t keys) {
    return static_cast<double>(pipeline.traversal(1, keys).count()) /
           static_cast<double>(pipeline.bottleneck(1, keys).count());
}

}  // namespace potluck::simulate
