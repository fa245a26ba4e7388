#pragma once

// What a layer works on value by value: the unit of a measured rate (worker/probe) and of a
// prediction by it (coordinator/planner).

#include <cstddef>

namespace potluck {

/// Values of a row that a layer works on beside products and attention: two norms and two sums of
/// the residual, the activation, norm and rotation of heads, the store of keys and values.
constexpr std::size_t elementwise_values(std::size_t width, std::size_t ffn_width,
                                         std::size_t q_width, std::size_t kv_width) {
    return 4 * width + ffn_width + 2 * (q_width + kv_width) + 2 * kv_width;
}

}  // namespace potluck
