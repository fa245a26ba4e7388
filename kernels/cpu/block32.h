#pragma once

// One weight row's 32 consecutive elements, in the format's own integers and scales, before
// anything is rounded. The scalar reference multiplies and dequantises this form; GGUF blocks and
// packed tiles are both decoded into it, so what is done with it is written once.

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"

namespace potluck::kernels::cpu {

struct ActivationBlock;

/// How a type's blocks are scaled (the rows of the tables in docs/arithmetic.md).
enum class BlockForm : std::uint8_t {
    kScale,             ///< d w: Q8_0 Q4_0 Q5_0 IQ4_NL MXFP4, and IQ4_XS with d (ls - 32) as its d
    kScaleAndOffset,    ///< d n + m: Q4_1 Q5_1, and Q4_K Q5_K with d sc and -(dmin mn)
    kHalves,            ///< d sc[half] w: Q3_K Q6_K
    kHalvesAndOffsets,  ///< d sc[half] n - dmin mn[half]: Q2_K
};
BlockForm block_form(TensorType type);

struct Block32 {
    std::int16_t w[32] = {};  ///< signed weight `w`, or the stored number `n` in forms with offsets
    float d = 0;              ///< products folded into d and m are exact (11 by 7 bits)
    float m = 0;
    std::int32_t scale[2] = {};  ///< of the two halves of 16
    float dmin = 0;
    std::int32_t min[2] = {};
};

/// acc plus the products of a block of weights and a block of activations.
float accumulate(BlockForm form, const Block32& weight, const ActivationBlock& x, float acc);

/// The 32 values as f32.
void dequantize(BlockForm form, const Block32& weight, float* out);

}  // namespace potluck::kernels::cpu
