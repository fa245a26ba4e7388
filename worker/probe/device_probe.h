#pragma once

// What a device does of what a model asks for: the rate of products with each weight type, of
// attention and of all that goes value by value, how fast weights are read, and what a layer costs
// beside. Measured through the operations that the engine calls, with weights that no cache holds
// where a step has few rows, so that the figures are what it attains.
//
// Thread: the device's.

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

#include "base/result.h"
#include "base/tensor_type.h"
#include "kernels/api/device.h"

namespace potluck::worker {

/// Rows of a step that rates are given for.
inline constexpr std::array<std::size_t, 3> kProbedRows = {1, 8, 512};

struct TypeRates {
    TensorType type = TensorType::kF32;
    std::array<double, 3> gops{};  ///< 10^9 operations a second at kProbedRows
    friend bool operator==(const TypeRates&, const TypeRates&) = default;
};

struct DeviceProbe {
    double read_gbps = 0;          ///< 10^9 bytes of weights a second that products of one row read
    std::vector<TypeRates> types;  ///< those that the device can multiply by
    std::array<double, 3> attention_gops{};
    /// 10^9 values a second through norms, rotation, activation, sums and the cache's store, as
    /// elementwise_values() counts them; at one row with the start of each operation.
    std::array<double, 3> elementwise_gops{};
    double layer_overhead_us = 0;  ///< of a step, per layer: what products without width would take
    friend bool operator==(const DeviceProbe&, const DeviceProbe&) = default;
};

struct ProbeOptions {
    /// About how long all of it may take; a device so slow that one call of each takes longer takes
    /// longer.
    std::chrono::milliseconds budget{1500};
    /// Read by the measurement of reading: more than caches hold, less where less is free.
    std::size_t read_bytes = std::size_t{128} << 20;
    /// Null: the steady clock. Where one thread does all, thread_cpu_time() is better: what other
    /// programs take away does not count.
    std::function<std::chrono::nanoseconds()> now;
};

/// kResourceExhausted without memory for it; else what the device's operations say.
Result<DeviceProbe> probe_device(kernels::Device& device, const ProbeOptions& options = {});

/// As if everything took `factor` times as long: what a pace of "x3" does.
DeviceProbe slowed(DeviceProbe probe, double factor);

}  // namespace potluck::worker
