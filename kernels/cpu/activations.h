#pragma once

// The int8x32 form of activations as every CPU instruction set stores it. Four batch rows lie
// interleaved block by block, so that a kernel reaches four rows from one pointer; where a row's
// block lies does not depend on how many rows there are.

#include <cstddef>
#include <cstdint>

namespace potluck::kernels::cpu {

/// 32 values x = d q, rounded as docs/arithmetic.md says.
struct ActivationBlock {
    float d;              ///< max |x| / c for the best c of 127 … 120
    float s;              ///< d times the sum of q
    std::int16_t sum[2];  ///< sums of q over the two halves of 16: |sum| <= 2032
    /// -8 times the sum of q: where a product begins that takes weights q + 8 for q. Other
    /// offsets are this one, shifted.
    std::int32_t minus_8_sums;
    std::int8_t q[32];  ///< -127 … 127, never -128
};
static_assert(sizeof(ActivationBlock) == 48 && alignof(ActivationBlock) == 4);

/// Scales that are tried for a block: max |x| over 127, 126, … The one with the least squared error
/// wins (docs/arithmetic.md).
inline constexpr int kScaleCandidates = 8;

inline constexpr std::size_t kActivationGroup = 4;  ///< batch rows interleaved

/// Index of a batch row's first block in an array of rows of `blocks` blocks each. The row's next
/// blocks follow every kActivationGroup elements.
inline constexpr std::size_t activation_index(std::size_t row, std::size_t blocks) {
    return row / kActivationGroup * kActivationGroup * blocks + row % kActivationGroup;
}

/// Quantises blocks [begin, end) of consecutive rows of x, counted row after row, `blocks` per row.
using QuantizeKernel = void (*)(const float* x, std::size_t blocks, std::size_t begin,
                                std::size_t end, ActivationBlock* out);

}  // namespace potluck::kernels::cpu
