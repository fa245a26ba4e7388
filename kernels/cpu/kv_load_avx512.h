#pragma once

// Sixteen values at a time of a stored key or value, for attention_avx512.cpp only. A row type has
// kVectors: how many vectors of 16 one load gives (blocks of 32 give two, and heads then have no
// rest), stride(): bytes of a row, and load(): values [d, d + 16 kVectors).

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cpu/kv_codec.h"
#include "kernels/cpu/simd_avx512.h"

namespace potluck::kernels::cpu {
namespace {

struct HalfRow {
    static constexpr std::size_t kVectors = 1;
    static std::size_t stride(std::size_t head_dim) { return 2 * head_dim; }
    static void load(const std::byte* row, std::size_t d, __m512* v) {
        v[0] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * d)));
    }
    static __m512 load_rest(const std::byte* row, std::size_t d, __mmask16 mask) {
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * d));
    }
};

struct Bfloat16Row {
    static constexpr std::size_t kVectors = 1;
    static std::size_t stride(std::size_t head_dim) { return 2 * head_dim; }
    static __m512 widen(__m256i halves) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
    static void load(const std::byte* row, std::size_t d, __m512* v) {
        v[0] = widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * d)));
    }
    static __m512 load_rest(const std::byte* row, std::size_t d, __mmask16 mask) {
        return widen(_mm256_maskz_loadu_epi16(mask, row + 2 * d));
    }
};

inline __m512 scale_of(const std::byte* block) {
    short half = 0;
    std::memcpy(&half, block, sizeof half);
    return _mm512_cvtph_ps(_mm256_set1_epi16(half));
}
inline __m512i bytes_at(const std::byte* from) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline std::uint32_t word_at(const std::byte* from) {
    std::uint32_t word = 0;
    std::memcpy(&word, from, sizeof word);
    return word;
}
/// n - offset for n = 0 to 15: looks at the low four bits of an index only.
inline __m512 levels_from(float offset) {
    return _mm512_sub_ps(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_ps(offset));
}

/// Rows that were unpacked before.
struct FloatRow {
    static constexpr std::size_t kVectors = 2;
    static std::size_t stride(std::size_t head_dim) { return 4 * head_dim; }
    static void load(const std::byte* row, std::size_t d, __m512* v) {
        const auto* const from = reinterpret_cast<const float*>(row) + d;
        v[0] = _mm512_loadu_ps(from);
        v[1] = _mm512_loadu_ps(from + 16);
    }
};

struct Q8Row {
    static constexpr std::size_t kVectors = 2;
    static std::size_t stride(std::size_t head_dim) { return head_dim / 32 * kQ8Bytes; }
    static void load(const std::byte* row, std::size_t d, __m512* v) {
        const std::byte* const block = row + d / 32 * kQ8Bytes;
        const __m512 scale = scale_of(block);
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < 2; ++i) {
            const __m128i levels =
                _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + kScaleBytes + 16 * i));
            v[i] = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(levels)));
        }
    }
};

struct Q5Row {
    static constexpr std::size_t kVectors = 2;
    static std::size_t stride(std::size_t head_dim) { return head_dim / 32 * kQ5Bytes; }
    static void load(const std::byte* row, std::size_t d, __m512* v) {
        const std::byte* const block = row + d / 32 * kQ5Bytes;
        const __m512 scale = scale_of(block);
        const std::uint32_t fifth = word_at(block + kScaleBytes);
        const __m512i nibbles = bytes_at(block + kScaleBytes + 4);
        const __m512 table = levels_from(16);
        const __m512 sixteen = _mm512_set1_ps(16);
        const __m512 low = _mm512_permutexvar_ps(nibbles, table);
        const __m512 high = _mm512_permutexvar_ps(_mm512_srli_epi32(nibbles, 4), table);
        v[0] = _mm512_mul_ps(scale,
                             _mm512_mask_add_ps(low, static_cast<__mmask16>(fifth), low, sixteen));
        v[1] = _mm512_mul_ps(
            scale, _mm512_mask_add_ps(high, static_cast<__mmask16>(fifth >> 16), high, sixteen));
    }
};

struct Q4Row {
    static constexpr std::size_t kVectors = 2;
    static std::size_t stride(std::size_t head_dim) { return head_dim / 32 * kQ4Bytes; }
    static void load(const std::byte* row, std::size_t d, __m512* v) {
        const std::byte* const block = row + d / 32 * kQ4Bytes;
        const __m512 scale = scale_of(block);
        const __m512i nibbles = bytes_at(block + kScaleBytes);
        const __m512 table = levels_from(8);
        v[0] = _mm512_mul_ps(scale, _mm512_permutexvar_ps(nibbles, table));
        v[1] = _mm512_mul_ps(scale, _mm512_permutexvar_ps(_mm512_srli_epi32(nibbles, 4), table));
    }
};

/// turbo3 in groups of kGroup values.
template <std::size_t kGroup>
struct TurboRow {
    static constexpr std::size_t kVectors = 2;
    static constexpr std::size_t kGroupBytes = kScaleBytes + kGroup / 32 * kTurboPlanesBytes;
    static std::size_t stride(std::size_t head_dim) { return head_dim / kGroup * kGroupBytes; }
    static __m512 points(__m512 table, std::uint32_t a, std::uint32_t b, std::uint32_t c) {
        __m512i index = _mm512_maskz_set1_epi32(static_cast<__mmask16>(a), 1);
        index = _mm512_mask_or_epi32(index, static_cast<__mmask16>(b), index, _mm512_set1_epi32(2));
        index = _mm512_mask_or_epi32(index, static_cast<__mmask16>(c), index, _mm512_set1_epi32(4));
        return _mm512_permutexvar_ps(index, table);
    }
    static void load(const std::byte* row, std::size_t d, __m512* v) {
        const std::byte* const block = row + d / kGroup * kGroupBytes;
        const __m512 scale = scale_of(block);
        const std::byte* const planes = block + kScaleBytes + d % kGroup / 32 * kTurboPlanesBytes;
        const std::uint32_t a = word_at(planes);
        const std::uint32_t b = word_at(planes + 4);
        const std::uint32_t c = word_at(planes + 8);
        const __m512 table = _mm512_broadcast_f32x8(_mm256_loadu_ps(kTurboPoints));
        v[0] = _mm512_mul_ps(scale, points(table, a, b, c));
        v[1] = _mm512_mul_ps(scale, points(table, a >> 16, b >> 16, c >> 16));
    }
};

}  // namespace
}  // namespace potluck::kernels::cpu
