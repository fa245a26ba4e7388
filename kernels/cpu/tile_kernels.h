#pragma once

// What an instruction set's file provides: inner kernels over one tile, called through pointers by
// the driver (matmul_tiled.cpp). These structs hold plain pointers, so that files that are compiled
// for an instruction set share no inline code with the rest of the program.

#include <cstddef>
#include <cstdint>

#include "base/tensor_type.h"
#include "kernels/cpu/activations.h"

namespace potluck::kernels::cpu {

/// Largest number of batch rows that one kernel call may take.
inline constexpr std::size_t kMaxTileColumns = 16;
inline constexpr std::size_t kMaxFloatColumns = 4;
/// Weight rows that a float kernel takes at once.
inline constexpr std::size_t kFloatTileRows = 4;
/// Rows of packed float weights are padded with zeros to a multiple of this.
inline constexpr std::size_t kFloatPadding = 16;

/// One tile of 16 quantised weight rows by N batch rows.
struct TileCall {
    const std::byte* quants;
    const std::byte* scales;
    const ActivationBlock* x;  ///< the first batch row's first block; its number is a multiple of 4
    std::size_t blocks;        ///< of 32, per row
    float* out;                ///< [N][out_stride], at the tile's first output
    std::size_t out_stride;
    const float* bias;  ///< at the tile's first output, or null
    unsigned rows;      ///< 1..16 outputs that exist
};
using TileKernel = void (*)(const TileCall* calls);

/// Whether weights that are used once are best prefetched past the second-level cache
/// (cpu_isa.cpp).
bool prefetches_past_l2();

/// by_columns[N] takes one call, null for an N that was not compiled; 1 always is. pairs[N] takes
/// two calls that differ in the tile only and may be null.
struct TileKernels {
    TileKernel by_columns[kMaxTileColumns + 1] = {};
    TileKernel pairs[kMaxTileColumns + 1] = {};
};

/// `rows` (1..kFloatTileRows) rows of float weights by N batch rows.
struct FloatCall {
    const std::byte* weights;   ///< the first row
    std::size_t weight_stride;  ///< bytes between rows
    const float* x;             ///< [N][columns]
    std::size_t columns;
    float* out;  ///< [N][out_stride], at the first output
    std::size_t out_stride;
    const float* bias;  ///< at the first output, or null
    unsigned rows;
};
using FloatKernel = void (*)(const FloatCall&);
struct FloatProductKernels {
    FloatKernel by_columns[kMaxFloatColumns + 1] = {};
};

struct VectorKernels {
    TileKernels (*tile)(TensorType type);
    FloatProductKernels (*floats)(TensorType type);
    QuantizeKernel quantize;
};

TileKernels tile_kernels_avx2(TensorType type);
FloatProductKernels float_kernels_avx2(TensorType type);
void quantize_avx2(const float* x, std::size_t blocks, std::size_t begin, std::size_t end,
                   ActivationBlock* out);
TileKernels tile_kernels_avx512(TensorType type);
FloatProductKernels float_kernels_avx512(TensorType type);
void quantize_avx512(const float* x, std::size_t blocks, std::size_t begin, std::size_t end,
                     ActivationBlock* out);

}  // namespace potluck::kernels::cpu
