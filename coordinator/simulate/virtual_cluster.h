#pragma once

// The real scheduler over a modelled pipeline. The caller owns the clock. Tokens are numbers that
// depend on nothing but their sequence and position, and none of them ends an answer.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/simulate/pipeline_model.h"

namespace potluck::simulate {

/// Token ids lie below this.
inline constexpr TokenId kVocabulary = 32000;

/// A batch that was sent, with all that becomes of it.
struct Step {
    BatchSize size;
    nanoseconds sent{};
    nanoseconds back{};
    std::vector<Passage> passages;  ///< by stage
    StepResult result;
};

class VirtualCluster {
  public:
    /// `limits.stages` is set from the model.
    static Result<VirtualCluster> make(const PipelineModel& model,
                                       coordinator::PipelineLimits limits,
                                       const coordinator::SchedulerOptions& options);

    /// As Scheduler::submit, at `now`, which never falls. What clients are told is appended to
    /// `told`: Emit… actions only.
    Status submit(nanoseconds now, RequestId id, coordinator::GenerationRequest request,
                  coordinator::SchedulerActions& told);
    /// When the next result is back at the coordinator; nothing if no batch is under way.
    std::optional<nanoseconds> next() const;
    /// Gives that result to the scheduler at that time. Something must be under way. The step is
    /// valid until the next call. An error is a mistake of the scheduler or of this model.
    Result<const Step*> take(coordinator::SchedulerActions& told);
    const coordinator::Scheduler& scheduler() const { return *scheduler_; }

  private:
    VirtualCluster(const PipelineModel& model, const coordinator::SchedulerOptions& options,
                   std::shared_ptr<const model::Tokenizer> tokenizer);
    void act(nanoseconds now, coordinator::SchedulerActions& told);
    void send(nanoseconds now, const Batch& batch);

    ModelledPipeline pipeline_;
    std::unique_ptr<coordinator::Scheduler> scheduler_;  ///< never moves
    coordinator::SchedulerActions actions_;
    std::deque<Step> under_way_;
    Step taken_;
};

}  // namespace potluck::simulate
