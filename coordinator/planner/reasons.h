#pragma once

// Why a machine is not in a plan, and why there is no plan.

#include "coordinator/planner/predict.h"

namespace potluck::planner {

/// For each device that the plan does not use.
std::vector<LeftOut> reasons(Predictor& predictor, Objective objective, const RankedPlan& plan);

/// kResourceExhausted or kUnsupported: what is needed, and what the devices have.
tl::unexpected<Error> nothing_fits(Predictor& predictor);

}  // namespace potluck::planner
