#pragma once

// How a stage's model is made on its executor: the part of the file that the plan names, checked
// against it.

#include "proto/control.h"
#include "worker/service/executor.h"
#include "worker/service/hosted_stage.h"

namespace potluck::worker {

/// Needs nothing of its arguments after the call.
LoadJob load_job(const StagePart& part, const proto::Plan& plan);

}  // namespace potluck::worker
