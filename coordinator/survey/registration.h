#pragma once

// What a worker says of itself, checked: everything after this may rely on it. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/tensor_type.h"
#include "coordinator/planner/inventory.h"
#include "proto/control.h"

namespace potluck::coordinator {

inline constexpr std::size_t kMaxNodeDevices = 16;
inline constexpr std::size_t kMaxDeviceTextBytes = 256;  ///< of a name, class or address
inline constexpr std::uint64_t kMaxDeviceBytes = std::uint64_t{1} << 50;
inline constexpr double kMaxFigure = 1e9;  ///< of a rate or time in the probe's units

struct RegisteredDevice {
    std::string name;
    std::string arithmetic_class;
    std::uint64_t free_bytes = 0;
    std::vector<TensorType> types;  ///< of weights that it can multiply by
    /// As the planner wants it, with name, memory and types; empty: it was not measured.
    std::optional<planner::Device> measured;
};

struct Registration {
    std::string address;  ///< as announced
    bool probes_links = false;
    std::vector<RegisteredDevice> devices;
};

/// kCorrupt if a number or text cannot be, saying which. Weight types that this build does not know
/// are left out.
Result<Registration> read_registration(const proto::Register& message);

}  // namespace potluck::coordinator
