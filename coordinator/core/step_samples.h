#pragma once

// What workers say about the time of their batches, checked before the scheduler believes it.

#include <cstddef>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "coordinator/core/cost_curve.h"
#include "coordinator/core/plan.h"
#include "proto/control.h"

namespace potluck::coordinator {

inline constexpr std::size_t kMaxStepSamples = 1024;  ///< of one message

/// The samples of a message from `node`, in the order in which the batches ran. kCancelled if it is
/// of another epoch than the plan's, and to be ignored; kCorrupt if the stage is not the node's or
/// one of the values cannot be, and then no sample of the message counts.
Result<std::vector<StepSample>> read_step_times(const proto::StepTimes& message, NodeId node,
                                                const Plan& plan);

}  // namespace potluck::coordinator
