#pragma once

// Several copies of the model, each on a device or on the devices of one node, that share the
// slots. Copies that themselves span nodes are not looked at.

#include "coordinator/planner/planner.h"

namespace potluck::planner {

struct Replica {
    Pipeline pipeline;
    std::uint32_t slots = 0;
};
/// The copies, and slots of each, that make the most tokens a second together. Fewer than two:
/// nothing gained.
std::vector<Replica> best_replicas(const ModelParts& model, const Inventory& inventory,
                                   const Workload& work);

}  // namespace potluck::planner
