#pragma once

// The machines that a plan is made for: measured, or described by hand before anything is bought.

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/tensor_type.h"

namespace potluck::planner {

inline constexpr std::size_t kMaxNodes = 64;
inline constexpr std::size_t kMaxDevices = 64;  ///< of all nodes; the search keeps them in one word

enum class DeviceKind : std::uint8_t { kCpu, kGpu };

/// 10^9 operations in a second (a multiplication and an addition are two) that products reach end
/// to end with steps of 1, 8 and 512 rows; between them it is interpolated over log2 of the rows.
struct MatmulRates {
    std::array<double, 3> gops{};
    double at(double rows) const;
    friend bool operator==(const MatmulRates&, const MatmulRates&) = default;
};

struct TypeRates {
    TensorType type = TensorType::kF32;
    MatmulRates rates;
    friend bool operator==(const TypeRates&, const TypeRates&) = default;
};

struct Device {
    std::string name;  ///< for people, unique: "desk/3090"
    std::string card;  ///< of the table, or empty
    DeviceKind kind = DeviceKind::kCpu;
    std::uint64_t memory_bytes = 0;  ///< free for Potluck
    double read_gbps = 0;            ///< 10^9 bytes of weights a second, attained while decoding
    MatmulRates quantised;           ///< of weights in blocks with 8-bit activations
    MatmulRates floats;              ///< of F32, F16, BF16 weights, and of attention
    /// Values, not operations, through norms, rotation, activation, sums; 0: not counted.
    MatmulRates elementwise;
    std::vector<TypeRates> by_type;  ///< where a weight type differs from its family
    std::vector<TensorType> types;   ///< that it can multiply by; empty: all that Potluck knows
    double layer_overhead_us = 0;    ///< of a step, per layer: launches, waits between operations
    std::string arithmetic_class;
    bool drivable = true;  ///< by this build; if not, it is planned all the same, and marked

    const MatmulRates& rates(TensorType type) const;
    bool supports(TensorType type) const;
    std::uint32_t node = 0;  ///< index into Inventory::nodes
};

/// Between two nodes, the same in both directions.
struct Link {
    double rtt_ms = 0.3;
    double gbits = 0.94;  ///< 10^9 bits of payload a second
    friend bool operator==(const Link&, const Link&) = default;
};
/// Between processes or devices of one machine.
inline constexpr Link kSameNode{.rtt_ms = 0.06, .gbits = 40};

struct Node {
    std::string name;
};

struct Inventory {
    std::vector<Node> nodes;
    std::vector<Device> devices;
    std::uint32_t coordinator = 0;  ///< the node that it runs on
    std::vector<Link> links;        ///< nodes × nodes, row by row

    const Link& link(std::uint32_t a, std::uint32_t b) const {
        return a == b ? kSameNode : links[a * nodes.size() + b];
    }
};

}  // namespace potluck::planner
