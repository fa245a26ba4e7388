// Activations to int8 blocks with AVX2; the scalar form is in weights_scalar.cpp.

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

inline void quantize_block(const float* x, ActivationBlock& out) {
    __m256 v[4];
    __m256 largest = _mm256_setzero_ps();
    POTLUCK_UNROLL
    for (int i = 0; i < 4; ++i) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        largest = _mm256_max_ps(absolute(v[i]), largest);  // NaN never wins
    }
    const float d = max_lane(largest) / 127.0F;
    const __m256 inverse = _mm256_set1_ps(d > 0.0F ? 1.0F / d : 0.0F);
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
