#pragma once

// How a stage's model is made on its executor: the part of the model that the plan names, from a
// file or from the cluster, checked against the plan. And how far that is, for the coordinator.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/stage_drafter.h"
#include "proto/control.h"
#include "proto/frame.h"
#include "worker/service/executor.h"
#include "worker/service/hosted_stage.h"
#include "worker/service/model_files.h"

namespace potluck::worker {

/// Of its arguments it needs only `files` after the call.
/// `drafter`: of a stage with the head; may be null.
LoadJob load_job(const StagePart& part, const proto::Prepare& prepare, const ModelFiles& files,
                 const std::shared_ptr<const engine::StageDrafter>& drafter);

proto::Control progress_message(const proto::FrameRoute& route, const LoadState& state);

/// The stages of `plan` are loaded, or there is a problem. `read_bytes`: of weights.
proto::Control prepared_message(const proto::Plan& plan,
                                const std::vector<std::unique_ptr<HostedStage>>& stages,
                                std::uint64_t read_bytes, const std::string& problem);

}  // namespace potluck::worker
