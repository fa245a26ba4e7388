#pragma once

// Every pipeline there is, each worked out from the formulas of docs/planning.md, without the
// planner's tables, bounds and search.

#include "coordinator/planner/planner.h"

namespace potluck::planner::test {

/// Tokens a second of the best pipeline; 0 if none fits.
double best_by_brute_force(const ModelParts& model, const Inventory& inventory,
                           const Workload& work, Objective objective);
/// Tokens a second of all slots, of the best way to share them over copies on one device each.
double best_replicas_by_brute_force(const ModelParts& model, const Inventory& inventory,
                                    const Workload& work);

}  // namespace potluck::planner::test
