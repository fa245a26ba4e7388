#pragma once

// Packed weights of the CPU device: who owns the memory and how it is laid out.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/result.h"
#include "kernels/api/device.h"
#include "kernels/cpu/tile_scratch.h"
#include "kernels/cpu/weight_arena.h"

namespace potluck::kernels::cpu {

enum class WeightLayout : std::uint8_t {
    kBlocks,     ///< the GGUF bytes of the rows: the scalar reference, and weights not packed
    kTiles,      ///< quantised, 16 rows interleaved: tile_layout.h
    kFloatRows,  ///< F32, F16, BF16 rows, each padded with zeros to a multiple of 16 elements
};

class CpuWeight final : public PackedWeight {
  public:
    CpuWeight(TensorType type, std::size_t rows, std::size_t columns, WeightLayout layout,
              PackedMemory memory)
        : type_(type),
          rows_(rows),
          columns_(columns),
          layout_(layout),
          data_(memory.data()),
          bytes_(memory.size()),
          memory_(std::move(memory)) {}
    /// Rows in somebody else's memory, which outlives the weight. `scratch` (may be null) is where
    /// tiles are packed when they are used.
    CpuWeight(TensorType type, std::size_t rows, std::size_t columns, WeightLayout layout,
              std::span<const std::byte> bytes, std::shared_ptr<TileScratch> scratch)
        : type_(type),
          rows_(rows),
          columns_(columns),
          layout_(layout),
          data_(bytes.data()),
          bytes_(bytes.size()),
          scratch_(std::move(scratch)) {}

    TensorType type() const override { return type_; }
    std::size_t rows() const override { return rows_; }
    std::size_t columns() const override { return columns_; }
    std::size_t bytes() const override { return bytes_; }

    WeightLayout layout() const { return layout_; }
    const std::byte* data() const { return data_; }
    TileScratch* scratch() const { return scratch_.get(); }
    /// Bytes from one row to the next; not for tiles.
    std::size_t row_stride() const;

  private:
    TensorType type_;
    std::size_t rows_;
    std::size_t columns_;
    WeightLayout layout_;
    const std::byte* data_;
    std::size_t bytes_;
    PackedMemory memory_;  ///< empty if the bytes are somebody else's
    std::shared_ptr<TileScratch> scratch_;
};

/// The weight as this device packed it; another device's weight is a bug of the caller.
const CpuWeight& cpu_weight(const PackedWeight* weight);

bool is_float(TensorType type);
/// Bytes of a row in kFloatRows.
std::size_t float_row_stride(TensorType type, std::size_t columns);

/// Why no CPU kernel can work with such a weight, or nothing. The same for all instruction sets.
std::optional<std::string> unsupported_weight(TensorType type, std::size_t columns);

/// What every pack() checks before it reads a byte: type, columns, row range, size of `bytes`.
Status check_pack(std::span<const std::byte> bytes, TensorType type, std::size_t columns,
                  RowRange range);

}  // namespace potluck::kernels::cpu
