#pragma once

// Sixteen lanes of base/portable_math.h, for the *_avx512.cpp files only. Everything has internal
// linkage, so that no copy of it can serve a file that was compiled for less.

// GCC's header begins many of its results as `__Y = __Y` and GCC 12 then warns of them (bug
// 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstddef>
#include <cstdint>

#include "base/portable_math.h"

/// Loops over registers must disappear whatever the optimisation level.
#if defined(__clang__)
#define POTLUCK_UNROLL _Pragma("unroll")
#else
#define POTLUCK_UNROLL _Pragma("GCC unroll 16")
#endif

namespace potluck::kernels::cpu {
namespace {

/// The first n lanes; all from 16 on.
inline __mmask16 first_lanes(std::size_t n) {
    return n >= 16 ? static_cast<__mmask16>(0xFFFF) : static_cast<__mmask16>((1U << n) - 1U);
}

/// portable_exp(float), lane by lane; a NaN passes through the comparison and the minimum.
inline __m512 exp16(__m512 x) {
    const __mmask16 too_small = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpMin), _CMP_LT_OQ);
    const __m512 clamped = _mm512_min_ps(_mm512_set1_ps(kExpMax), x);
    const __m512 round = _mm512_set1_ps(kExpRound);
    const __m512 shifted = _mm512_fmadd_ps(clamped, _mm512_set1_ps(kLog2E), round);
    const __m512 n = _mm512_sub_ps(shifted, round);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2High), clamped);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2Low), r);
    __m512 p = _mm512_set1_ps(kExpPolynomial[0]);
    POTLUCK_UNROLL
    for (int i = 1; i < 8; ++i)
        p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpPolynomial[i]));
    const __m512i exponent = _mm512_slli_epi32(
        _mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127)), 23);
    return _mm512_maskz_mul_ps(static_cast<__mmask16>(~too_small), p,
                               _mm512_castsi512_ps(exponent));
}

/// The fold of docs/arithmetic.md of one vector of lanes.
inline float fold16(__m512 v) {
    const __m256 h8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    const __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
    return _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2)));
}

/// The folds of sixteen vectors at once, lane i of the result that of v[i]: each step adds the same
/// pairs as fold16, two vectors side by side.
inline __m512 fold16x16(const __m512* v) {
    __m512 four[4];
    POTLUCK_UNROLL
    for (int j = 0; j < 4; ++j) {
        __m512 two[2];
        POTLUCK_UNROLL
        for (int i = 0; i < 2; ++i) {
            // Result position 4 i + j of the last step comes from place 4 j + i, hence the strides.
            const __m512 a = v[j + 8 * i];
            const __m512 b = v[j + 8 * i + 4];
            two[i] =
                _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
        }
        four[j] = _mm512_add_ps(_mm512_shuffle_f32x4(two[0], two[1], 0x88),
                                _mm512_shuffle_f32x4(two[0], two[1], 0xDD));
    }
    __m512 pair[2];
    POTLUCK_UNROLL
    for (int i = 0; i < 2; ++i)
        pair[i] = _mm512_add_ps(_mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0x44),
                                _mm512_shuffle_ps(four[2 * i], four[2 * i + 1], 0xEE));
    return _mm512_add_ps(_mm512_shuffle_ps(pair[0], pair[1], 0x88),
                         _mm512_shuffle_ps(pair[0], pair[1], 0xDD));
}

/// Sixteen pairs (x0, y0, x1, y1, …) in two vectors, taken apart and put together again.
struct Pairs16 {
    __m512 first;
    __m512 second;
};
inline Pairs16 unzip16(__m512 low, __m512 high) {
    const __m512i even =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return {_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high)};
}
inline Pairs16 zip16(__m512 first, __m512 second) {
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    return {_mm512_permutex2var_ps(first, low, second),
            _mm512_permutex2var_ps(first, high, second)};
}

}  // namespace
}  // namespace potluck::kernels::cpu
