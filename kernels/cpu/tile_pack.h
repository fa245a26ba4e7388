#pragma once

// GGUF rows into tiles (tile_layout.h), and single blocks back out of them.

#include <cstddef>

#include "base/tensor_type.h"
#include "kernels/cpu/block32.h"
#include "kernels/cpu/tile_layout.h"

namespace potluck::kernels::cpu {

/// Packs tile `tile` of the matrix `packed`. `rows` (1..16) GGUF rows of `row_bytes` lie at
/// `source`.
void pack_tile(TensorType type, const TileLayout& layout, const std::byte* source,
               std::size_t row_bytes, std::size_t rows, std::size_t tile, std::byte* packed);

/// Elements [32 block, 32 block + 32) of row `row` of the matrix `packed`.
void unpack_block(const TileLayout& layout, const std::byte* packed, std::size_t row,
                  std::size_t block, Block32& out);

}  // namespace potluck::kernels::cpu
