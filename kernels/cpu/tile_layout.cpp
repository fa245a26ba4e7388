#include "kernels/cpu/tile_layout.h"

namespace potluck::kernels::cpu {

TileLayout::TileLayout(TensorType type, std::size_t columns, std::size_t rows)
    : format(tile_format(type)),
      tiles((rows + kTileRows - 1) / kTileRows),
      blocks(columns / 32),
      tile_quants(blocks * format.quant_bytes()),
      tile_scales(columns / format.block_elements * format.scale_bytes()),
      scales_at(tiles * tile_quants),
      total(scales_at + tiles * tile_scales) {}

}  // namespace potluck::kernels::cpu
