#pragma once

// A plan as workers are told it.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/core/deployment.h"
#include "coordinator/core/plan.h"
#include "coordinator/core/scheduler.h"
#include "coordinator/service/served_model.h"
#include "proto/control.h"

namespace potluck::coordinator {

/// `return_address` is where the last stage sends results; `name_of` says how a node is called in
/// its certificate.
proto::Plan to_proto(const Plan& plan, const ModelFacts& facts, const std::string& return_address,
                     const std::function<std::string(NodeId)>& name_of);

/// Adds to a plan's message what its stages are to keep of these sequences.
proto::Prepare to_prepare(const Plan& plan, proto::Plan message,
                          const std::vector<engine::KeptSequence>& sequences);

StageProgress read_progress(const proto::Progress& progress);

/// Who may be asked for the model's weights: every node, and the coordinator at `own_address`.
void name_holders(const std::map<NodeId, NodeOffer>& nodes, const std::string& own_address,
                  proto::ModelSource& model);

}  // namespace potluck::coordinator
