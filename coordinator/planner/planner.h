#pragma once

// Where a model would run best, how fast, and why: a pure function of the model, the machines, the
// links and what is wanted. docs/planning.md says what is assumed.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "coordinator/planner/cost.h"
#include "coordinator/planner/search.h"

namespace potluck::planner {

enum class Objective : std::uint8_t {
    kDecode,      ///< tokens a second of one user
    kPrefill,     ///< tokens a second of one prompt
    kThroughput,  ///< tokens a second of all slots together
};

struct PlanRequest {
    Workload work;
    Objective objective = Objective::kDecode;
};

/// What takes the largest part of the time.
struct Bottleneck {
    std::string what;  ///< a device's name, "desk to attic", or "desk/3090" of a replica
    double share = 0;  ///< of the time of what the objective counts
};

struct Prediction {
    double prefill_tps = 0;  ///< one prompt
    double decode_tps = 0;   ///< one user
    double slots_tps = 0;    ///< all slots busy, together
    /// What one user's token takes in each stage, in order, and on the way between them and from
    /// and to the coordinator: together 1 / decode_tps. Seconds.
    std::vector<double> stages_s;
    double way_s = 0;
};

struct StageReport {
    StageChoice stage;
    MemoryUse memory;
    double decode_share = 0;  ///< of the time of one user's token
};

/// One copy of the model.
struct Instance {
    std::vector<StageReport> stages;
    std::uint32_t slots = 0;
};

struct RankedPlan {
    std::string shape;  ///< for people: "one device", "2 replicas", "pipeline over 3 nodes"
    std::vector<Instance> instances;
    Prediction predicted;
    Bottleneck bottleneck;
    double score(Objective objective) const;
};

struct LeftOut {
    std::uint32_t device = 0;
    std::string reason;
};

struct Planning {
    std::vector<RankedPlan> plans;  ///< the best first, at least one
    std::vector<LeftOut> left_out;  ///< of the best plan
    bool exact = true;              ///< no pipeline is better by more than kTolerance
    double gap = 0;  ///< if not exact: how much better one could be at most, as a fraction
};

/// kInvalidArgument: no device, a context the model was not made for, zero slots.
/// kResourceExhausted: no plan fits, with what is needed and what there is.
Result<Planning> make_plans(const ModelParts& model, const Inventory& inventory,
                            const PlanRequest& request);

/// The figures of one pipeline that is given, whether it fits or not.
Prediction predict(const ModelParts& model, const Inventory& inventory, const Workload& work,
                   const Pipeline& pipeline);

/// Layers in proportion to memory over all devices, in their order: what to compare with. Empty if
/// there are more devices than layers.
Pipeline split_by_memory(const ModelParts& model, const Inventory& inventory);

}  // namespace potluck::planner
