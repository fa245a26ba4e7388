#include "kernels/cpu/packed_weight.h"

#include <fmt/format.h>

#include "base/check.h"
#include "kernels/cpu/tile_kernels.h"

namespace potluck::kernels::cpu {
namespace {

/// Bounds that no tensor reaches and that keep every product of sizes far below 2^64.
constexpr std::size_t kMaxColumns = std::size_t{1} << 31;
constexpr std::size_t kMaxRows = std::size_t{1} << 31;

std::size_t round_up(std::size_t n, std::size_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

std::string supported_types() {
    std::string names;
    for (const auto& t : tensor_types())
        if (t.weight) names += fmt::format("{}{}", names.empty() ? "" : " ", t.name);
    return names;
}

}  // namespace

const CpuWeight& cpu_weight(const PackedWeight* weight) {
    const auto* mine = dynamic_cast<const CpuWeight*>(weight);
    POTLUCK_CHECK(mine != nullptr);
    return *mine;
}

std::size_t CpuWeight::row_stride() const {
    return layout_ == WeightLayout::kFloatRows ? float_row_stride(type_, columns_)
                                               : row_bytes(type_, columns_);
}

std::size_t float_row_stride(TensorType type, std::size_t columns) {
    return row_bytes(type, round_up(columns, kFloatPadding));
}

bool is_float(TensorType type) {
    return activation_form(type) == ActivationForm::kF32;
}

std::optional<std::string> unsupported_weight(TensorType type, std::size_t columns) {
    const TensorTypeInfo& t = info(type);
    if (!t.weight)
        return fmt::format("no CPU kernel multiplies by {}; it can by {}", t.name,
                           supported_types());
    if (columns == 0 || columns > kMaxColumns)
        return fmt::format("{} columns of {} are outside 1..{}", columns, t.name, kMaxColumns);
    if (columns % t.block_elements != 0)
        return fmt::format("{} columns of {} are not a multiple of its block of {}", columns,
                           t.name, t.block_elements);
    return std::nullopt;
}

Status check_pack(std::span<const std::byte> bytes, TensorType type, std::size_t columns,
                  RowRange range) {
    if (const auto why = unsupported_weight(type, columns)) {
        const auto code = info(type).weight ? ErrorCode::kInvalidArgument : ErrorCode::kUnsupported;
        return error(code, *why);
    }
    const std::size_t row = row_bytes(type, columns);
    if (bytes.size() % row != 0)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{} bytes of {} are not whole rows of {} columns ({} bytes each)",
                                 bytes.size(), to_string(type), columns, row));
    const std::size_t rows = bytes.size() / row;
    if (range.begin > range.end || range.end > rows || rows > kMaxRows)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("rows [{}, {}) of a {} tensor that has {} rows", range.begin,
                                 range.end, to_string(type), rows));
    return {};
}

}  // namespace potluck::kernels::cpu
