#pragma once

// Devices that people have at home, with what engines reach on them: docs/planning.md says where
// each figure comes from and which are estimates.

#include <span>
#include <string_view>

#include "base/result.h"
#include "coordinator/planner/inventory.h"

namespace potluck::planner {

struct KnownCard {
    std::string_view name;  ///< as in an inventory: "4060-ti-16"
    std::string_view title;
    DeviceKind kind = DeviceKind::kGpu;
    double memory_gib = 0;
    double read_gbps = 0;
    MatmulRates quantised, floats;
    double layer_overhead_us = 0;
    std::string_view arithmetic_class;
    bool drivable = false;  ///< by this build
};

std::span<const KnownCard> known_cards();
/// A device of that card, without name and node. kInvalidArgument lists the cards there are.
Result<Device> make_device(std::string_view card);

}  // namespace potluck::planner
