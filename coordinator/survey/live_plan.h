#pragma once

// The planner (coordinator/planner) over the machines that are really there: their registrations
// and the links that were measured become its inventory, its pipeline becomes shares of layers.
// Pure.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "coordinator/core/pacing.h"
#include "coordinator/core/plan.h"
#include "coordinator/planner/planner.h"
#include "coordinator/survey/registration.h"

namespace potluck::coordinator {

/// The coordinator itself as an end of links.
inline constexpr NodeId kCoordinatorNode{0};

struct SurveyedNode {
    std::string name;
    Registration registration;
};

struct Surveyed {
    std::map<NodeId, SurveyedNode> nodes;
    /// By the two ends, the smaller id first; what is not here is taken to be as planner::Link
    /// says.
    std::map<std::pair<NodeId, NodeId>, planner::Link> links;
    /// Of devices (node, index) that have served: how many times as long as by their probe a step
    /// of one row takes (lessons.h).
    std::map<std::pair<NodeId, std::uint32_t>, double> slowness;
};
std::pair<NodeId, NodeId> link_between(NodeId a, NodeId b);

struct PlanWish {
    planner::Workload work;
    planner::Objective objective = planner::Objective::kDecode;
    bool use_all = false;  ///< every device gets a stage, also where that is slower
};
/// The planner's workload for what a plan is asked to hold. Speeds are predicted behind few tokens
/// and for a prompt of a few hundred, which is what is measured soonest.
planner::Workload workload_of(const PlanRequest& request, std::uint32_t context_length);

struct ChosenDevice {
    NodeId node;
    std::uint32_t device = 0;  ///< of the node
    std::uint32_t layers = 0;
    friend bool operator==(const ChosenDevice&, const ChosenDevice&) = default;
};
struct Choice {
    std::vector<ChosenDevice> stages;   ///< in order
    std::vector<std::string> left_out;  ///< "attic/0 cpu: why", for people
};

/// The best pipeline over these devices. kUnsupported, naming it, if a device was not measured;
/// kResourceExhausted if nothing fits, also with room for one sequence only.
Result<Choice> choose(const planner::ModelParts& model, const Surveyed& surveyed,
                      const std::vector<DeviceOffer>& devices, const PlanWish& wish);

/// What a plan, however it was made, should reach. kUnsupported as choose().
Result<planner::Prediction> predict(const planner::ModelParts& model, const Surveyed& surveyed,
                                    const Plan& plan, const PlanWish& wish);

/// For the scheduler: guessed steps, and the links between the stages as they were measured, each
/// way half its round trip. `row_bytes`: the activations of one row. Devices of one node have no
/// link; the way back to the coordinator carries tokens only.
std::vector<StageCost> first_costs(const Surveyed& surveyed, const Plan& plan,
                                   std::uint64_t row_bytes);

}  // namespace potluck::coordinator
