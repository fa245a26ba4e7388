#pragma once

// Reading GGUF's quantised blocks. Only the scalar reference and the packer include this.

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"
#include "kernels/cpu/block32.h"

namespace potluck::kernels::cpu {

/// Elements [32 sub, 32 sub + 32) of the GGUF block at `block`; sub is 0 for blocks of 32.
void decode_block(TensorType type, const std::byte* block, std::size_t sub, Block32& out);

/// 2^(e - 128), half of the format's scale because its values are kept doubled.
float mxfp4_scale(std::uint8_t e);

struct K4Scale {
    int scale;
    int min;
};
/// Q4_K and Q5_K: the six-bit pair of block `sub` (0..7) in 12 bytes.
K4Scale k4_scale(const std::byte* scales, std::size_t sub);
/// Q3_K: scale `s` (0..15) of 16 elements in 12 bytes, less 32.
int q3_k_scale(const std::byte* scales, std::size_t s);
/// IQ4_XS: the scale of block `sub` (0..7) of the whole GGUF block, less 32.
int iq4_xs_scale(const std::byte* block, std::size_t sub);

}  // namespace potluck::kernels::cpu
