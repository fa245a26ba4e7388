#pragma once

// The tensor types of GGUF files: their ids, names and block sizes.
// Source: the GGUF specification of the ggml project, table of tensor types.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace potluck {

/// Values are the ids of the file format.
enum class TensorType : std::uint32_t {
    kF32 = 0,
    kF16 = 1,
    kQ4_0 = 2,
    kQ4_1 = 3,
    kQ5_0 = 6,
    kQ5_1 = 7,
    kQ8_0 = 8,
    kQ8_1 = 9,
    kQ2_K = 10,
    kQ3_K = 11,
    kQ4_K = 12,
    kQ5_K = 13,
    kQ6_K = 14,
    kQ8_K = 15,
    kIQ2_XXS = 16,
    kIQ2_XS = 17,
    kIQ3_XXS = 18,
    kIQ1_S = 19,
    kIQ4_NL = 20,
    kIQ3_S = 21,
    kIQ2_S = 22,
    kIQ4_XS = 23,
    kI8 = 24,
    kI16 = 25,
    kI32 = 26,
    kI64 = 27,
    kF64 = 28,
    kIQ1_M = 29,
    kBF16 = 30,
    kTQ1_0 = 34,
    kTQ2_0 = 35,
    kMXFP4 = 39,
};

struct TensorTypeInfo {
    TensorType type;
    std::string_view name;         ///< as people write it: "Q4_K"
    std::uint32_t block_elements;  ///< elements of a row that share one block
    std::uint32_t block_bytes;
    bool weight;  ///< the kernels' scalar reference can multiply by it
};

/// Every type a file may name; others are refused by number.
std::span<const TensorTypeInfo> tensor_types();
/// Null if the id is not one of the format's.
const TensorTypeInfo* find_tensor_type(std::uint32_t id);
const TensorTypeInfo& info(TensorType type);
std::string_view to_string(TensorType type);
/// Case-insensitive: "q4_k", "Q4_K".
std::optional<TensorType> parse_tensor_type(std::string_view name);

/// Bytes of one row of `elements`, which must be a multiple of the block.
std::size_t row_bytes(TensorType type, std::size_t elements);

}  // namespace potluck
