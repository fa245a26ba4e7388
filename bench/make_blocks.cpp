#include "bench/make_blocks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/portable_math.h"
#include "kernels/cpu/codebooks.h"

// A block is made in two steps: all of it is random bytes, then `finish` turns the fields that hold
// scales, random as well, into one of the few values that give the deviation wanted. Integer scales
// span the upper half of their range, as those of quantisers do. Layouts: kernels/cpu/gguf_blocks.

namespace potluck::bench {
namespace {

unsigned byte_at(const std::byte* p, std::size_t i) {
    return std::to_integer<unsigned>(p[i]);
}

std::byte low_byte(unsigned value) {
    return static_cast<std::byte>(value & 0xFFU);
}

/// The `d` at `at` and, unless `offset_at` is null, what goes with it.
void put_scales(const BlockScales& scales, std::byte* at, std::byte* offset_at = nullptr) {
    const std::size_t choice = byte_at(at, 0) % scales.scale.size();
    std::memcpy(at, &scales.scale[choice], 2);
    if (offset_at != nullptr) std::memcpy(offset_at, &scales.offset[choice], 2);
}

/// Two-bit fields, the highest bits of six-bit scales that are stored with 32 added: 0 or 3, so
/// that the scale is far from 0 on either side.
std::byte far_from_zero(std::byte bits) {
    return low_byte((std::to_integer<unsigned>(bits) & 0x55U) * 3);
}

void finish_scale_first(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block);
}

void finish_scale_and_offset(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block, block + 2);
}

void finish_q8_0(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block);
    for (std::size_t i = 2; i < 34; ++i)  // quantisers never write -128
        block[i] = block[i] == std::byte{0x80} ? std::byte{0} : block[i];
}

void finish_mxfp4(std::byte* block, const BlockScales& /*scales*/) {
    // The scale is a power of two: 11 times of 16 the larger one gives the mean square wanted.
    block[0] = std::byte{(byte_at(block, 0) & 15) < 11 ? std::uint8_t{120} : std::uint8_t{119}};
}

void finish_q2_k(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block + 80, block + 82);
    for (std::size_t i = 0; i < 16; ++i)  // the minimum follows the scale: the mean is 0
        block[i] = low_byte((byte_at(block, i) & 7U) * 0x11U | 0x88U);
}

void finish_q3_k(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block + 108);
    for (std::size_t i = 104; i < 108; ++i)
        block[i] = far_from_zero(block[i]);
}

/// Q4_K and Q5_K: eight six-bit scales of 32 to 63, each with a minimum of the same number.
void finish_k(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block, block + 2);
    std::byte* packed = block + 4;
    for (std::size_t i = 0; i < 4; ++i) {
        const unsigned first = byte_at(packed, i) & 31U;
        const unsigned second = byte_at(packed, i + 8) & 15U;
        // Bits 5 and 4 of the second half's scale lie above the six of the first half's.
        const unsigned upper = 0x80U | (byte_at(packed, i) & 0x40U);
        packed[i] = packed[i + 4] = low_byte(upper | 0x20U | first);
        packed[i + 8] = low_byte(second * 0x11U);
    }
}

void finish_q6_k(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block + 208);
    for (std::size_t i = 192; i < 208; ++i) {  // bit 6 against the sign: -128..-65 and 64..127
        const unsigned bits = byte_at(block, i);
        block[i] = low_byte((bits & 0xBFU) | (~bits >> 1 & 0x40U));
    }
}

void finish_iq4_xs(std::byte* block, const BlockScales& scales) {
    put_scales(scales, block);
    block[2] = far_from_zero(block[2]);
    block[3] = far_from_zero(block[3]);
}

/// The mean of (x - middle)^2 over the integers from `low` to `high`.
constexpr double mean_square(int low, int high, double middle = 0) {
    double sum = 0;
    for (int x = low; x <= high; ++x)
        sum += (x - middle) * (x - middle);
    return sum / (high - low + 1);
}

constexpr double iq4_mean_square() {
    double sum = 0;
    for (const int value : kernels::cpu::kIq4Values)
        sum += value * value;
    return sum / 16;
}

// Of six-bit scales far from zero (32 is taken off what is stored), and of Q6_K's.
constexpr double kFarSquare = (mean_square(-32, -17) + mean_square(16, 31)) / 2;
constexpr double kFarSquare8 = (mean_square(-128, -65) + mean_square(64, 127)) / 2;

struct Recipe {
    TensorType type;
    double mean_square;  ///< of a value whose block has 1 for `d`
    double offset;       ///< `m` or `dmin` in units of `d`; 0: `d` may be negative, as in files
    void (*finish)(std::byte* block, const BlockScales& scales);
};

using enum TensorType;

constexpr auto kRecipes = std::to_array<Recipe>({
    {kQ8_0, 255.0 / 256 * mean_square(-127, 127), 0, finish_q8_0},
    {kQ4_0, mean_square(-8, 7), 0, finish_scale_first},
    {kQ4_1, mean_square(0, 15, 7.5), -7.5, finish_scale_and_offset},
    {kQ5_0, mean_square(-16, 15), 0, finish_scale_first},
    {kQ5_1, mean_square(0, 31, 15.5), -15.5, finish_scale_and_offset},
    {kQ2_K, mean_square(0, 3, 1.5) * mean_square(8, 15), 1.5, finish_q2_k},
    {kQ3_K, mean_square(-4, 3) * kFarSquare, 0, finish_q3_k},
    {kQ4_K, mean_square(0, 15, 7.5) * mean_square(32, 63), 7.5, finish_k},
    {kQ5_K, mean_square(0, 31, 15.5) * mean_square(32, 63), 15.5, finish_k},
    {kQ6_K, mean_square(-32, 31) * kFarSquare8, 0, finish_q6_k},
    {kIQ4_NL, iq4_mean_square(), 0, finish_scale_first},
    {kIQ4_XS, iq4_mean_square() * kFarSquare, 0, finish_iq4_xs},
    {kMXFP4, 1, 0, finish_mxfp4},
});

const Recipe* find_recipe(TensorType type) {
    const auto found = std::find_if(kRecipes.begin(), kRecipes.end(),
                                    [&](const Recipe& recipe) { return recipe.type == type; });
    return found == kRecipes.end() ? nullptr : &*found;
}

bool is_float(TensorType type) {
    return type == kF32 || type == kF16 || type == kBF16;
}

/// Sixteen sizes from 0.75 to 1.25 of the middle one, half of all 32 of them negative if that may
/// be. Blocks of a file differ in their scales too.
BlockScales make_scales(const Recipe& recipe) {
    const auto size = [](std::size_t i) { return 0.75 + (static_cast<double>(i) + 0.5) / 32; };
    double squares = 0;
    for (std::size_t i = 0; i < 16; ++i)
        squares += size(i) * size(i) / 16;
    const double middle = kWeightDeviation / std::sqrt(recipe.mean_square * squares);
    BlockScales scales;
    for (std::size_t i = 0; i < scales.scale.size(); ++i) {
        const double sign = recipe.offset == 0 && i >= 16 ? -1 : 1;
        scales.scale[i] = float_to_half(static_cast<float>(sign * middle * size(i % 16)));
        const double rounded = half_to_float(scales.scale[i]);
        scales.offset[i] = float_to_half(static_cast<float>(recipe.offset * rounded));
    }
    return scales;
}

void fill_random(RandomBits& bits, std::span<std::byte> out) {
    for (std::size_t at = 0; at < out.size(); at += 8) {
        const std::uint64_t word = bits.next();
        std::memcpy(out.data() + at, &word, std::min<std::size_t>(8, out.size() - at));
    }
}

/// About normal: the sum of four even numbers of 16 bits, less its middle.
float normal(RandomBits& bits) {
    const std::uint64_t word = bits.next();
    const auto part = [&](int shift) { return static_cast<int>(word >> shift & 0xFFFFU); };
    const int sum = part(0) + part(16) + part(32) + part(48) - 2 * 0xFFFF;
    constexpr float kSumDeviation = 37837.2271F;  // sqrt(4 (65536^2 - 1) / 12)
    return static_cast<float>(sum) * (kWeightDeviation / kSumDeviation);
}

std::uint16_t to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

/// Values of `convert`'s type, one after another.
template <typename Convert>
void fill_values(RandomBits& bits, std::span<std::byte> out, const Convert& convert) {
    using Stored = decltype(convert(0.0F));
    for (std::size_t at = 0; at + sizeof(Stored) <= out.size(); at += sizeof(Stored)) {
        const Stored value = convert(normal(bits));
        std::memcpy(out.data() + at, &value, sizeof value);
    }
}

}  // namespace

bool BlockMaker::knows(TensorType type) {
    return is_float(type) || find_recipe(type) != nullptr;
}

BlockMaker::BlockMaker(TensorType type) : type_(type) {
    POTLUCK_CHECK(knows(type));
    const Recipe* recipe = find_recipe(type);
    if (recipe == nullptr) return;
    finish_ = recipe->finish;
    scales_ = make_scales(*recipe);
}

void BlockMaker::fill(RandomBits& bits, std::span<std::byte> out) const {
    if (type_ == kF32) return fill_values(bits, out, [](float v) { return v; });
    if (type_ == kF16) return fill_values(bits, out, float_to_half);
    if (type_ == kBF16) return fill_values(bits, out, to_bfloat16);
    fill_random(bits, out);
    const std::size_t block_bytes = info(type_).block_bytes;
    for (std::size_t at = 0; at + block_bytes <= out.size(); at += block_bytes)
        finish_(out.data() + at, scales_);
}

void fill_norm(RandomBits& bits, std::span<std::byte> out) {
    fill_values(bits, out, [](float v) { return 1 + v; });
}

}  // namespace potluck::bench
