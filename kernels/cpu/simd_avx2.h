#pragma once

// Eight lanes of base/portable_math.h and pairs of vectors for lane sums, for the *_avx2.cpp files
// only. Everything has internal linkage, so that no copy of it can serve a file that was compiled
// for less.

#include <immintrin.h>

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

/// All bits of the first n lanes; all lanes from 8 on.
inline __m256i first_lanes(std::size_t n) {
    const int count = n >= 8 ? 8 : static_cast<int>(n);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/// The first n values, zeros behind them; and stores them. Masked stores take many times as long as
/// plain ones on some processors, so they are for the rest of a row only.
inline __m256 load_first(const float* from, std::size_t n) {
    return n >= 8 ? _mm256_loadu_ps(from) : _mm256_maskload_ps(from, first_lanes(n));
}
inline void store_first(float* to, std::size_t n, __m256 v) {
    if (n >= 8)
        _mm256_storeu_ps(to, v);
    else
        _mm256_maskstore_ps(to, first_lanes(n), v);
}

/// portable_exp(float), lane by lane; a NaN passes through the comparison and the minimum.
inline __m256 exp8(__m256 x) {
    const __m256 too_small = _mm256_cmp_ps(x, _mm256_set1_ps(kExpMin), _CMP_LT_OQ);
    const __m256 clamped = _mm256_min_ps(_mm256_set1_ps(kExpMax), x);
    const __m256 round = _mm256_set1_ps(kExpRound);
    const __m256 shifted = _mm256_fmadd_ps(clamped, _mm256_set1_ps(kLog2E), round);
    const __m256 n = _mm256_sub_ps(shifted, round);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2High), clamped);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2Low), r);
    __m256 p = _mm256_set1_ps(kExpPolynomial[0]);
    POTLUCK_UNROLL
    for (int i = 1; i < 8; ++i)
        p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpPolynomial[i]));
    const __m256i exponent = _mm256_slli_epi32(
        _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(too_small, _mm256_mul_ps(p, _mm256_castsi256_ps(exponent)));
}

/// The sixteen lanes of a lane sum.
struct Lanes {
    __m256 low;
    __m256 high;
};

/// The fold of docs/arithmetic.md.
inline float fold(const Lanes& v) {
    const __m256 h8 = _mm256_add_ps(v.low, v.high);
    const __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    const __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
    return _mm_cvtss_f32(_mm_add_ss(h2, _mm_movehdup_ps(h2)));
}

/// The folds of eight lane sums at once, lane i of the result that of v[i], whose two halves are
/// added already; each step adds the same pairs as fold.
inline __m256 fold8(const __m256* v) {
    __m256 two[4];
    POTLUCK_UNROLL
    for (int i = 0; i < 4; ++i)
        two[i] = _mm256_add_ps(_mm256_permute2f128_ps(v[i], v[i + 4], 0x20),
                               _mm256_permute2f128_ps(v[i], v[i + 4], 0x31));
    __m256 pair[2];
    POTLUCK_UNROLL
    for (int i = 0; i < 2; ++i)
        pair[i] = _mm256_add_ps(_mm256_shuffle_ps(two[2 * i], two[2 * i + 1], 0x44),
                                _mm256_shuffle_ps(two[2 * i], two[2 * i + 1], 0xEE));
    return _mm256_add_ps(_mm256_shuffle_ps(pair[0], pair[1], 0x88),
                         _mm256_shuffle_ps(pair[0], pair[1], 0xDD));
}

/// Eight pairs (x0, y0, x1, y1, …) in two vectors, taken apart and put together again.
struct Pairs8 {
    __m256 first;
    __m256 second;
};
inline Pairs8 unzip8(__m256 low, __m256 high) {
    const __m256 a = _mm256_permute2f128_ps(low, high, 0x20);
    const __m256 b = _mm256_permute2f128_ps(low, high, 0x31);
    return {_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xDD)};
}
inline Pairs8 zip8(__m256 first, __m256 second) {
    const __m256 a = _mm256_unpacklo_ps(first, second);
    const __m256 b = _mm256_unpackhi_ps(first, second);
    return {_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31)};
}

}  // namespace
}  // namespace potluck::kernels::cpu
