#pragma once

// One run: users ask, the scheduler works, everything is measured. docs/simulation.md defines every
// figure.

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/simulate/pipeline_model.h"
#include "coordinator/simulate/workload.h"

namespace potluck::simulate {

struct SimulationOptions {
    PipelineModel pipeline;
    coordinator::PipelineLimits limits;
    coordinator::SchedulerOptions scheduler;
    WorkloadOptions workload;
    nanoseconds duration = std::chrono::seconds(60);  ///< then nobody asks any more; all are served
    nanoseconds warm_up = std::chrono::seconds(10);   ///< of it, not measured
};

/// Of a set of times; all zero without any.
struct Quantiles {
    std::size_t count = 0;
    nanoseconds p50{}, p95{}, p99{}, max{};
};
Quantiles quantiles(std::vector<nanoseconds> values);

struct StageFigures {
    double bubble = 0;      ///< share of the time with open requests in which it computed nothing
    double queue_mean = 0;  ///< batches that wait, over the measured time
    std::size_t queue_max = 0;
};

/// How long first tokens took, against what they may take.
struct FairShare {
    double rows_per_second = 0;  ///< the plan's prefill rate at full chunks of a mean prompt
    nanoseconds traversal{};     ///< of a full chunk through an idle pipeline
    double worst = 0;            ///< the largest ratio of a first token's time to its fair share
    std::uint64_t late = 0;      ///< first tokens with a ratio over 2
};

struct SimulationResult {
    nanoseconds measured{};  ///< the time from warm-up to the end of the duration
    std::uint64_t asked = 0, refused = 0, answered = 0;  ///< over the whole run
    double tokens_per_second = 0;
    double prompt_rows_per_second = 0;  ///< computed, replays after a pause included
    double rows_per_batch = 0;
    Quantiles first_token, gap;
    std::vector<StageFigures> stages;
    double jain = 0;  ///< of the tokens that users got; 1: all the same
    double most_to_least =
        0;  ///< tokens of the best served user to those of the worst; 0: it got none
    std::uint64_t prompt_tokens = 0, cached_tokens = 0;
    double waiting_mean = 0;  ///< requests in the scheduler's queue
    std::size_t waiting_max = 0;
    std::uint64_t pauses = 0;  ///< of sequences, over the whole run
    FairShare fair_share;
    std::uint64_t event_hash = 0;  ///< equal for equal options
};

/// Errors: kInvalidArgument if a request could never fit, kInternal if scheduler and pipeline
/// disagree or the run never ends.
Result<SimulationResult> simulate(const SimulationOptions& options);

}  // namespace potluck::simulate
