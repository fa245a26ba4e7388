#pragma once

// Eight values at a time of a stored key or value, for attention_avx2.cpp only. A row type has
// kBlocks (heads have whole blocks of 32, so that there is no rest), stride(): bytes of a row, and
// load(): values [d, d + 8).

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/kv_codec.h"
#include "kernels/cpu/simd_avx2.h"

namespace potluck::kernels::cpu {
namespace {

/// The first n < 8 halves; zeros after them.
inline __m128i first_halves(const std::byte* from, std::size_t n) {
    alignas(16) std::uint16_t padded[8] = {};
    for (std::size_t i = 0; i < n; ++i)
        std::memcpy(padded + i, from + 2 * i, 2);
    return _mm_load_si128(reinterpret_cast<const __m128i*>(padded));
}
inline __m128i halves_at(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

struct HalfRow {
    static constexpr bool kBlocks = false;
    static std::size_t stride(std::size_t head_dim) { return 2 * head_dim; }
    static __m256 load(const std::byte* row, std::size_t d) {
        return _mm256_cvtph_ps(halves_at(row + 2 * d));
    }
    static __m256 load_rest(const std::byte* row, std::size_t d, std::size_t n) {
        return n >= 8 ? load(row, d) : _mm256_cvtph_ps(first_halves(row + 2 * d, n));
    }
};

struct Bfloat16Row {
    static constexpr bool kBlocks = false;
    static std::size_t stride(std::size_t head_dim) { return 2 * head_dim; }
    static __m256 widen(__m128i halves) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }
    static __m256 load(const std::byte* row, std::size_t d) {
        return widen(halves_at(row + 2 * d));
    }
    static __m256 load_rest(const std::byte* row, std::size_t d, std::size_t n) {
        return n >= 8 ? load(row, d) : widen(first_halves(row + 2 * d, n));
    }
};

inline __m256 scale_of(const std::byte* block) {
    short half = 0;
    std::memcpy(&half, block, sizeof half);
    return _mm256_cvtph_ps(_mm_set1_epi16(half));
}
/// Bit `from` + i of a word in lane i, as 0 or 1.
inline __m256i bits_at(const std::byte* word, std::size_t from) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, word, sizeof bits);
    const __m256i shifted = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(bits >> from)),
                                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    return _mm256_and_si256(shifted, _mm256_set1_epi32(1));
}
/// Values [at, at + 8) of 32 nibbles, at a multiple of 8.
inline __m256i nibbles_at(const std::byte* nibbles, std::size_t at) {
    const __m256i bytes =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(nibbles + at % 16)));
    const __m128i shift = _mm_cvtsi32_si128(at < 16 ? 0 : 4);
    return _mm256_and_si256(_mm256_srl_epi32(bytes, shift), _mm256_set1_epi32(15));
}
inline __m256 scaled(__m256 scale, __m256i levels, int offset) {
    return _mm256_mul_ps(scale,
                         _mm256_cvtepi32_ps(_mm256_sub_epi32(levels, _mm256_set1_epi32(offset))));
}

/// Rows that were unpacked before.
struct FloatRow {
    static constexpr bool kBlocks = true;
    static std::size_t stride(std::size_t head_dim) { return 4 * head_dim; }
    static __m256 load(const std::byte* row, std::size_t d) {
        return _mm256_loadu_ps(reinterpret_cast<const float*>(row) + d);
    }
};

struct Q8Row {
    static constexpr bool kBlocks = true;
    static std::size_t stride(std::size_t head_dim) { return head_dim / 32 * kQ8Bytes; }
    static __m256 load(const std::byte* row, std::size_t d) {
        const std::byte* const block = row + d / 32 * kQ8Bytes;
        const __m256i levels = _mm256_cvtepi8_epi32(
            _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + kScaleBytes + d % 32)));
        return _mm256_mul_ps(scale_of(block), _mm256_cvtepi32_ps(levels));
    }
};

struct Q5Row {
    static constexpr bool kBlocks = true;
    static std::size_t stride(std::size_t head_dim) { return head_dim / 32 * kQ5Bytes; }
    static __m256 load(const std::byte* row, std::size_t d) {
        const std::byte* const block = row + d / 32 * kQ5Bytes;
        const __m256i fifth = _mm256_slli_epi32(bits_at(block + kScaleBytes, d % 32), 4);
        const __m256i levels = _mm256_or_si256(fifth, nibbles_at(block + kScaleBytes + 4, d % 32));
        return scaled(scale_of(block), levels, 16);
    }
};

struct Q4Row {
    static constexpr bool kBlocks = true;
    static std::size_t stride(std::size_t head_dim) { return head_dim / 32 * kQ4Bytes; }
    static __m256 load(const std::byte* row, std::size_t d) {
        const std::byte* const block = row + d / 32 * kQ4Bytes;
        return scaled(scale_of(block), nibbles_at(block + kScaleBytes, d % 32), 8);
    }
};

/// turbo3 in groups of kGroup values.
template <std::size_t kGroup>
struct TurboRow {
    static constexpr bool kBlocks = true;
    static constexpr std::size_t kGroupBytes = kScaleBytes + kGroup / 32 * kTurboPlanesBytes;
    static std::size_t stride(std::size_t head_dim) { return head_dim / kGroup * kGroupBytes; }
    static __m256 load(const std::byte* row, std::size_t d) {
        const std::byte* const block = row + d / kGroup * kGroupBytes;
        const std::byte* const planes = block + kScaleBytes + d % kGroup / 32 * kTurboPlanesBytes;
        const __m256i b = _mm256_slli_epi32(bits_at(planes + 4, d % 32), 1);
        const __m256i c = _mm256_slli_epi32(bits_at(planes + 8, d % 32), 2);
        const __m256i index = _mm256_or_si256(bits_at(planes, d % 32), _mm256_or_si256(b, c));
        return _mm256_mul_ps(scale_of(block),
                             _mm256_permutevar8x32_ps(_mm256_loadu_ps(kTurboPoints), index));
    }
};

}  // namespace
}  // namespace potluck::kernels::cpu
