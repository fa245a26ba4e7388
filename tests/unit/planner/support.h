#pragma once

// Models and machines for the planner's tests.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "coordinator/planner/planner.h"

namespace potluck::planner::test {

template <typename T>
T must(Result<T> result) {
    if (!result) {
        ADD_FAILURE() << result.error().message;
        std::abort();
    }
    return std::move(*result);
}

/// Numbers of one seed, the same everywhere.
class Dice {
  public:
    explicit Dice(std::uint64_t seed) : seed_(seed) {}
    double real(double low, double high) { return low + (high - low) * uniform(seed_, next_++); }
    std::uint32_t whole(std::uint32_t low, std::uint32_t high) {
        return low + static_cast<std::uint32_t>(real(0, 1) * (high - low + 1));
    }
    /// Each order of magnitude as likely as the next.
    double scale(double low, double high);

  private:
    std::uint64_t seed_;
    std::uint64_t next_ = 0;
};

/// Layers of `layer_mb` MB each, an untied embedding and head of `end_mb`; Q8_0 throughout.
ModelParts even_model(std::uint32_t layers, double layer_mb, double end_mb);
/// 100 GB/s, far more products than it needs, no overhead.
Device fast_device(std::string name, std::uint32_t node, double memory_mb, double gbps = 100);
/// One node for each device, links all the same, the coordinator on the first node.
Inventory one_node_each(std::vector<Device> devices, Link link = {.rtt_ms = 0.2, .gbits = 1});

ModelParts random_model(Dice& dice, std::uint32_t most_layers);
Inventory random_inventory(Dice& dice, const ModelParts& model, const Workload& work,
                           std::uint32_t devices);

}  // namespace potluck::planner::test
