#pragma once

// The best pipeline over a set of devices: which, in which order, cut where.
//
// A partial pipeline is a label: devices used, the last of them, layers done, the sum of its times
// and its slowest resource. Labels grow stage by stage. Of those with the same devices, last device
// and layers, only the ones that no other beats in both figures are kept, and a label goes when
// even the most hopeful completion is no better than the best pipeline known. If more labels than
// the bound are left, the least hopeful are dropped, and the most hopeful of the dropped bounds
// from below what was missed: the gap is certain, not estimated.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "coordinator/planner/cost.h"

namespace potluck::planner {

struct StageChoice {
    std::uint32_t device = 0;
    std::uint32_t begin = 0, end = 0;  ///< layers
    friend bool operator==(const StageChoice&, const StageChoice&) = default;
};
using Pipeline = std::vector<StageChoice>;

/// What is minimised, in seconds: max(sum_weight × sum + slowest_weight × slowest,
/// in_flight × slowest). `sum` is the time of a step through all stages and hops, `slowest` that of
/// the slowest stage or link.
struct Cost {
    double sum_weight = 1;
    double slowest_weight = 0;
    double in_flight = 0;
    double of(double sum, double slowest) const {
        const double way = sum_weight * sum + slowest_weight * slowest;
        return way > in_flight * slowest ? way : in_flight * slowest;
    }
    bool needs_slowest() const { return slowest_weight > 0 || in_flight > 1; }
};

struct SearchOptions {
    Cost cost;
    std::size_t least_stages = 1;
    std::size_t max_labels = 60'000;  ///< kept after each stage; fewer is faster and less exact
    std::uint64_t allowed = ~std::uint64_t{0};  ///< devices, one bit each
    std::vector<std::uint32_t> order;           ///< not empty: exactly these devices in this order
    /// Pipelines that cost as much or more are of no interest: of one that is known already.
    double worthwhile_below = std::numeric_limits<double>::infinity();
};

struct SearchResult {
    Pipeline pipeline;       ///< empty: nothing fits, or nothing is worthwhile
    double cost = 0;         ///< of the pipeline, or worthwhile_below
    double lower_bound = 0;  ///< no pipeline costs less, but for kTolerance; equals cost if exact
    std::size_t labels = 0;  ///< that were looked at
};

/// Labels that differ by less are taken as equal, so that a search ends: what "exact" means.
inline constexpr double kTolerance = 0.002;

SearchResult find_pipeline(const CostTable& table, const Inventory& inventory,
                           const SearchOptions& options);

/// Sum and slowest of a pipeline: what Cost::of takes.
struct PipelineTimes {
    double sum_s = 0;
    double slowest_s = 0;
};
PipelineTimes times(const CostTable& table, const Pipeline& pipeline);
bool fits(const CostTable& table, const Pipeline& pipeline);

/// For each device the one before it that it could change places with, or -1: of devices that are
/// the same only the first ones need be tried.
std::vector<int> find_twins(const Inventory& inventory);

}  // namespace potluck::planner
