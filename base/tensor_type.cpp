#include "base/tensor_type.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/check.h"

namespace potluck {
namespace {

using enum TensorType;

constexpr auto kTypes = std::to_array<TensorTypeInfo>({
    {kF32, "F32", 1, 4, true},
    {kF16, "F16", 1, 2, true},
    {kQ4_0, "Q4_0", 32, 18, true},
    {kQ4_1, "Q4_1", 32, 20, true},
    {kQ5_0, "Q5_0", 32, 22, true},
    {kQ5_1, "Q5_1", 32, 24, true},
    {kQ8_0, "Q8_0", 32, 34, true},
    {kQ8_1, "Q8_1", 32, 36, false},
    {kQ2_K, "Q2_K", 256, 84, true},
    {kQ3_K, "Q3_K", 256, 110, true},
    {kQ4_K, "Q4_K", 256, 144, true},
    {kQ5_K, "Q5_K", 256, 176, true},
    {kQ6_K, "Q6_K", 256, 210, true},
    {kQ8_K, "Q8_K", 256, 292, false},
    {kIQ2_XXS, "IQ2_XXS", 256, 66, false},
    {kIQ2_XS, "IQ2_XS", 256, 74, false},
    {kIQ3_XXS, "IQ3_XXS", 256, 98, false},
    {kIQ1_S, "IQ1_S", 256, 50, false},
    {kIQ4_NL, "IQ4_NL", 32, 18, true},
    {kIQ3_S, "IQ3_S", 256, 110, false},
    {kIQ2_S, "IQ2_S", 256, 82, false},
    {kIQ4_XS, "IQ4_XS", 256, 136, true},
    {kI8, "I8", 1, 1, false},
    {kI16, "I16", 1, 2, false},
    {kI32, "I32", 1, 4, false},
    {kI64, "I64", 1, 8, false},
    {kF64, "F64", 1, 8, false},
    {kIQ1_M, "IQ1_M", 256, 56, false},
    {kBF16, "BF16", 1, 2, true},
    {kTQ1_0, "TQ1_0", 256, 54, false},
    {kTQ2_0, "TQ2_0", 256, 66, false},
    {kMXFP4, "MXFP4", 32, 17, true},
});

}  // namespace

std::span<const TensorTypeInfo> tensor_types() {
    return kTypes;
}

const TensorTypeInfo* find_tensor_type(std::uint32_t id) {
    const auto found = std::find_if(kTypes.begin(), kTypes.end(), [&](const TensorTypeInfo& t) {
        return static_cast<std::uint32_t>(t.type) == id;
    });
    return found == kTypes.end() ? nullptr : &*found;
}

const TensorTypeInfo& info(TensorType type) {
    const auto* found = find_tensor_type(static_cast<std::uint32_t>(type));
    POTLUCK_CHECK(found != nullptr);
    return *found;
}

std::string_view to_string(TensorType type) {
    return info(type).name;
}

std::optional<TensorType> parse_tensor_type(std::string_view name) {
    const auto same = [](char a, char b) {
        return std::toupper(static_cast<unsigned char>(a)) ==
               std::toupper(static_cast<unsigned char>(b));
    };
    for (const auto& t : kTypes)
        if (std::equal(name.begin(), name.end(), t.name.begin(), t.name.end(), same)) return t.type;
    return std::nullopt;
}

std::size_t row_bytes(TensorType type, std::size_t elements) {
    const auto& t = info(type);
    POTLUCK_CHECK(elements % t.block_elements == 0);
    return elements / t.block_elements * t.block_bytes;
}

}  // namespace potluck
