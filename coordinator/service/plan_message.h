#pragma once

// A plan as workers are told it.

#include <functional>
#include <string>

#include "base/ids.h"
#include "coordinator/core/plan.h"
#include "coordinator/service/served_model.h"
#include "proto/control.h"

namespace potluck::coordinator {

/// `return_address` is where the last stage sends results; `name_of` says how a node is called in
/// its certificate.
proto::Plan to_proto(const Plan& plan, const ModelFacts& facts, const std::string& return_address,
                     const std::function<std::string(NodeId)>& name_of);

}  // namespace potluck::coordinator
