#pragma once

// What the layers that a partial pipeline has not placed yet cost at least: it is what lets the
// search drop most partial pipelines early. Devices are simplified to their cheapest layer and to
// the most layers that they could hold anywhere.

#include <cstdint>
#include <vector>

#include "coordinator/planner/cost.h"

namespace potluck::planner {

/// Infinite if the devices that are left cannot hold the layers.
struct Rest {
    double sum_s = 0;
    double slowest_s = 0;
};

class Bounds {
  public:
    /// `allowed`: the devices that may be used, one bit each.
    Bounds(const CostTable& table, std::uint64_t allowed);

    /// `layers` layers on the allowed devices that are not `used`; slowest_s is 0 if not wanted.
    Rest rest(std::uint64_t used, std::uint32_t layers, bool want_slowest);

  private:
    struct Simple {
        std::uint64_t bit = 0;
        double layer_s = 0;  ///< the cheapest
        std::uint32_t most_layers = 0;
        double head_s = 0;
        double hop_in_s = 0;  ///< from the nearest device
        double last_hop_s = 0;
    };
    double least_sum(std::uint64_t used, std::uint32_t layers) const;
    double least_slowest(std::uint64_t used, std::uint32_t layers) const;

    std::vector<Simple> devices_;  ///< the fastest first
    std::uint32_t table_layers_;
    bool remember_ = false;  ///< few enough devices for a table of all sets
    double slowest_of_all_ = 0;
    std::vector<Rest> known_;  ///< negative: not yet
};

}  // namespace potluck::planner
