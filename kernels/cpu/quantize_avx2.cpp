// Activations to int8 blocks with AVX2; the scalar form is in weights_scalar.cpp.

#include <immintrin.h>

#include "kernels/cpu/simd_avx2.h"
#include "kernels/cpu/tile_kernels.h"

namespace potluck::kernels::cpu {
namespace {

inline __m256 absolute(__m256 x) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0F), x);
}

inline float max_lane(__m256 v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_movehdup_ps(m));
    return _mm_cvtss_f32(m);
}

/// 8 values to quants in 32-bit lanes. The operand order makes NaN become -127, as `t > -127 ? t :
/// -127` does: max and min return their second operand if either is NaN.
inline __m256i to_quants(__m256 x, __m256 inverse) {
    __m256 t = _mm256_mul_ps(x, inverse);
    t = _mm256_max_ps(t, _mm256_set1_ps(-127.0F));
    t = _mm256_min_ps(t, _mm256_set1_ps(127.0F));
    return _mm256_cvtps_epi32(t);
}

inline int sum_lanes(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s);
}

inline __m256 rounded(__m256 t) {
    return _mm256_round_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/// A block's candidate scales, and which of them is the best: docs/arithmetic.md.
struct ScaleChoice {
    alignas(32) float d[kScaleCandidates];
    alignas(32) float inverse[kScaleCandidates];
    unsigned best;
};

inline void choose_scale(const __m256* v, float amax, ScaleChoice& choice) {
    const __m256 d =
        _mm256_div_ps(_mm256_set1_ps(amax), _mm256_setr_ps(127, 126, 125, 124, 123, 122, 121, 120));
    const __m256 positive = _mm256_cmp_ps(d, _mm256_setzero_ps(), _CMP_GT_OQ);
    _mm256_store_ps(choice.d, d);
    _mm256_store_ps(choice.inverse,
                    _mm256_and_ps(positive, _mm256_div_ps(_mm256_set1_ps(1.0F), d)));
    __m256 squares[kScaleCandidates];
    POTLUCK_UNROLL
    for (int k = 0; k < kScaleCandidates; ++k) {
        const __m256 step = _mm256_set1_ps(choice.d[k]);
        const __m256 inverse = _mm256_set1_ps(choice.inverse[k]);
        __m256 r[4];
        POTLUCK_UNROLL
        for (int i = 0; i < 4; ++i)
            r[i] = _mm256_fnmadd_ps(rounded(_mm256_mul_ps(v[i], inverse)), step, v[i]);
        const __m256 first = _mm256_fmadd_ps(r[2], r[2], _mm256_mul_ps(r[0], r[0]));
        const __m256 second = _mm256_fmadd_ps(r[3], r[3], _mm256_mul_ps(r[1], r[1]));
        squares[k] = _mm256_add_ps(first, second);
    }
    const __m256 error = fold8(squares);
    __m256 least = _mm256_min_ps(error, _mm256_permute2f128_ps(error, error, 1));
    least = _mm256_min_ps(least, _mm256_permute_ps(least, 0x4E));
    least = _mm256_min_ps(least, _mm256_permute_ps(least, 0xB1));
    // The first of the least; 0 if its error is no number, as it then is whenever any one is.
    const auto equal =
        static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(error, least, _CMP_EQ_UQ)));
    choice.best = static_cast<unsigned>(__builtin_ctz(equal | 1U << kScaleCandidates));
}

inline void quantize_block(const float* x, ActivationBlock& out) {
    __m256 v[4];
    __m256 largest = _mm256_setzero_ps();
    POTLUCK_UNROLL
    for (int i = 0; i < 4; ++i) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        largest = _mm256_max_ps(absolute(v[i]), largest);  // NaN never wins
    }
    ScaleChoice choice;
    choose_scale(v, max_lane(largest), choice);
    const float d = choice.d[choice.best];
    const __m256 inverse = _mm256_set1_ps(choice.inverse[choice.best]);
    __m256i q[4];
    POTLUCK_UNROLL
    for (int i = 0; i < 4; ++i)
        q[i] = to_quants(v[i], inverse);
    const int sum0 = sum_lanes(_mm256_add_epi32(q[0], q[1]));
    const int sum1 = sum_lanes(_mm256_add_epi32(q[2], q[3]));
    out.d = d;
    out.s = d * static_cast<float>(sum0 + sum1);
    out.sum[0] = static_cast<std::int16_t>(sum0);
    out.sum[1] = static_cast<std::int16_t>(sum1);
    out.minus_8_sums = -8 * (sum0 + sum1);
    // The packs work within 128-bit lanes; the permutation restores the order of the dwords.
    const __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out.q),
                        _mm256_permutevar8x32_epi32(bytes, order));
}

}  // namespace

void quantize_avx2(const float* x, std::size_t blocks, std::size_t begin, std::size_t end,
                   ActivationBlock* out) {
    std::size_t row = begin / blocks;
    std::size_t block = begin % blocks;
    for (std::size_t i = begin; i < end; ++i) {
        // activation_index(), written out: this file shares no inline functions with others.
        const std::size_t group = row / kActivationGroup * blocks + block;
        quantize_block(x + 32 * i, out[group * kActivationGroup + row % kActivationGroup]);
        if (++block == blocks) {
            block = 0;
            ++row;
        }
    }
}

}  // namespace potluck::kernels::cpu
