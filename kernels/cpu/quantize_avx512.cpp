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

/// 16 values to quants in 32-bit lanes. The operand order makes NaN become -127, as `t > -127 ? t :
/// -127` does: max and min return their second operand if either is NaN.
inline __m512i to_quants(__m512 x, __m512 inverse) {
    __m512 t = _mm512_mul_ps(x, inverse);
    t = _mm512_max_ps(t, _mm512_set1_ps(-127.0F));
    t = _mm512_min_ps(t, _mm512_set1_ps(127.0F));
    return _mm512_cvtps_epi32(t);
}

inline void quantize_block(const float* x, ActivationBlock& out) {
    const __m512 low = _mm512_loadu_ps(x);
    const __m512 high = _mm512_loadu_ps(x + 16);
    __m512 largest = _mm512_max_ps(_mm512_abs_ps(low), _mm512_setzero_ps());  // NaN never wins
    largest = _mm512_max_ps(_mm512_abs_ps(high), largest);
    const float amax = _mm512_reduce_max_ps(largest);
    const float d = amax / 127.0F;
    const __m512 inverse = _mm512_set1_ps(d > 0.0F ? 1.0F / d : 0.0F);
    const __m512i q0 = to_quants(low, inverse);
    const __m512i q1 = to_quants(high, inverse);
    const int sum0 = _mm512_reduce_add_epi32(q0);
    const int sum1 = _mm512_reduce_add_epi32(q1);
    out.d = d;
    out.s = d * static_cast<float>(sum0 + sum1);
    out.sum[0] = static_cast<std::int16_t>(sum0);
    out.sum[1] = static_cast<std::int16_t>(sum1);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out.q), _mm512_cvtepi32_epi8(q0));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out.q + 16), _mm512_cvtepi32_epi8(q1));
}

}  // namespace

void quantize_avx512(const float* x, std::size_t blocks, std::size_t begin, std::size_t end,
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
