// Activations to int8 blocks with AVX-512; the scalar form is in weights_scalar.cpp.

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own intrinsics' deliberately undefined pass-through operands for mistakes.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "kernels/cpu/tile_kernels.h"

namespace potluck::kernels::cpu {
namespace {

// Loops over registers must disappear whatever the optimisation level; with the address sanitiser
// they stay, because it makes unrolled kernels take minutes to compile.
#if defined(__SANITIZE_ADDRESS__)
#define POTLUCK_UNROLL
#else
#define POTLUCK_UNROLL _Pragma("GCC unroll 16")
#endif

/// 16 values to quants in 32-bit lanes. The operand order makes NaN become -127, as `t > -127 ? t :
/// -127` does: max and min return their second operand if either is NaN.
inline __m512i to_quants(__m512 x, __m512 inverse) {
    __m512 t = _mm512_mul_ps(x, inverse);
    t = _mm512_max_ps(t, _mm512_set1_ps(-127.0F));
    t = _mm512_min_ps(t, _mm512_set1_ps(127.0F));
    return _mm512_cvtps_epi32(t);
}

inline __m512 rounded(__m512 t) {
    return _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/// The folds of eight lane sums at once, lane k of the result that of v[k].
inline __m256 fold8(const __m512* v) {
    __m256 two[4];
    POTLUCK_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m256 a =
            _mm256_add_ps(_mm512_castps512_ps256(v[i]), _mm512_extractf32x8_ps(v[i], 1));
        const __m256 b =
            _mm256_add_ps(_mm512_castps512_ps256(v[i + 4]), _mm512_extractf32x8_ps(v[i + 4], 1));
        two[i] =
            _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    }
    __m256 pair[2];
    POTLUCK_UNROLL
    for (int i = 0; i < 2; ++i)
        pair[i] = _mm256_add_ps(_mm256_shuffle_ps(two[2 * i], two[2 * i + 1], 0x44),
                                _mm256_shuffle_ps(two[2 * i], two[2 * i + 1], 0xEE));
    return _mm256_add_ps(_mm256_shuffle_ps(pair[0], pair[1], 0x88),
                         _mm256_shuffle_ps(pair[0], pair[1], 0xDD));
}

/// Blocks that are worked on phase by phase, so that one's long chains hide behind another's.
constexpr std::size_t kBatch = 8;

/// A block's candidate scales, and which of them is the best: docs/arithmetic.md.
struct ScaleChoice {
    alignas(32) float d[kScaleCandidates];
    alignas(32) float inverse[kScaleCandidates];
    unsigned best;
};

inline void candidates(const float* x, ScaleChoice& choice) {
    __m512 largest = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x)), _mm512_setzero_ps());
    largest = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + 16)), largest);  // NaN never wins
    const __m256 d = _mm256_div_ps(_mm256_set1_ps(_mm512_reduce_max_ps(largest)),
                                   _mm256_setr_ps(127, 126, 125, 124, 123, 122, 121, 120));
    const __mmask8 positive = _mm256_cmp_ps_mask(d, _mm256_setzero_ps(), _CMP_GT_OQ);
    _mm256_store_ps(choice.d, d);
    _mm256_store_ps(choice.inverse, _mm256_maskz_div_ps(positive, _mm256_set1_ps(1.0F), d));
}

inline void choose_scale(const float* x, ScaleChoice& choice) {
    const __m512 low = _mm512_loadu_ps(x);
    const __m512 high = _mm512_loadu_ps(x + 16);
    __m512 squares[kScaleCandidates];
    POTLUCK_UNROLL
    for (int k = 0; k < kScaleCandidates; ++k) {
        const __m512 step = _mm512_set1_ps(choice.d[k]);
        const __m512 inverse = _mm512_set1_ps(choice.inverse[k]);
        const __m512 r0 = _mm512_fnmadd_ps(rounded(_mm512_mul_ps(low, inverse)), step, low);
        const __m512 r1 = _mm512_fnmadd_ps(rounded(_mm512_mul_ps(high, inverse)), step, high);
        squares[k] = _mm512_fmadd_ps(r1, r1, _mm512_mul_ps(r0, r0));
    }
    const __m256 error = fold8(squares);
    __m256 least = _mm256_min_ps(error, _mm256_permute2f128_ps(error, error, 1));
    least = _mm256_min_ps(least, _mm256_permute_ps(least, 0x4E));
    least = _mm256_min_ps(least, _mm256_permute_ps(least, 0xB1));
    // The first of the least; 0 if its error is no number, as it then is whenever any one is.
    choice.best = static_cast<unsigned>(
        __builtin_ctz(_mm256_cmp_ps_mask(error, least, _CMP_EQ_UQ) | 1U << kScaleCandidates));
}

/// The sums of 16 bytes of each.
inline __m128i sums16(__m128i a, __m128i b) {
    const __m128i ones = _mm_set1_epi8(1);
    const __m128i four = _mm_hadd_epi32(_mm_dpbusd_epi32(_mm_setzero_si128(), ones, a),
                                        _mm_dpbusd_epi32(_mm_setzero_si128(), ones, b));
    return _mm_hadd_epi32(four, four);
}

inline void store_quants(const float* x, const ScaleChoice& choice, ActivationBlock& out) {
    const float d = choice.d[choice.best];
    const __m512 inverse = _mm512_set1_ps(choice.inverse[choice.best]);
    const __m128i q0 = _mm512_cvtepi32_epi8(to_quants(_mm512_loadu_ps(x), inverse));
    const __m128i q1 = _mm512_cvtepi32_epi8(to_quants(_mm512_loadu_ps(x + 16), inverse));
    const __m128i sums = sums16(q0, q1);
    const int sum0 = _mm_cvtsi128_si32(sums);
    const int sum1 = _mm_extract_epi32(sums, 1);
    out.d = d;
    out.s = d * static_cast<float>(sum0 + sum1);
    out.sum[0] = static_cast<std::int16_t>(sum0);
    out.sum[1] = static_cast<std::int16_t>(sum1);
    out.minus_8_sums = -8 * (sum0 + sum1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out.q), q0);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out.q + 16), q1);
}

}  // namespace

void quantize_avx512(const float* x, std::size_t blocks, std::size_t begin, std::size_t end,
                     ActivationBlock* out) {
    std::size_t row = begin / blocks;
    std::size_t block = begin % blocks;
    ScaleChoice choices[kBatch];
    while (begin < end) {
        const std::size_t n = end - begin < kBatch ? end - begin : kBatch;
        for (std::size_t i = 0; i < n; ++i)
            candidates(x + 32 * (begin + i), choices[i]);
        for (std::size_t i = 0; i < n; ++i)
            choose_scale(x + 32 * (begin + i), choices[i]);
        for (std::size_t i = 0; i < n; ++i) {
            // activation_index(), written out: this file shares no inline functions with others.
            const std::size_t group = row / kActivationGroup * blocks + block;
            store_quants(x + 32 * (begin + i), choices[i],
                         out[group * kActivationGroup + row % kActivationGroup]);
            if (++block == blocks) {
                block = 0;
                ++row;
            }
        }
        begin += n;
    }
}

}  // namespace potluck::kernels::cpu
