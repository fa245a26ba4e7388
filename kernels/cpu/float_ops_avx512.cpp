// The float operations on AVX-512; float_ops_scalar.cpp says what they are.

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/attention_avx512.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd_avx512.h"
#include "kernels/cpu/sincos_constants.h"

namespace potluck::kernels::cpu {
namespace {

void rms_norm(const float* x, const float* weight, std::size_t width, float epsilon, float* out) {
    __m512 lanes = _mm512_setzero_ps();
    for (std::size_t i = 0; i < width; i += 16) {
        const __m512 v = _mm512_maskz_loadu_ps(first_lanes(width - i), x + i);
        lanes = _mm512_fmadd_ps(v, v, lanes);
    }
    const float mean = fold16(lanes) / static_cast<float>(width);
    const float scale = 1.0F / __builtin_sqrtf(mean + epsilon);
    const __m512 scales = _mm512_set1_ps(scale);
    for (std::size_t i = 0; i < width; i += 16) {
        const __mmask16 mask = first_lanes(width - i);
        const __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), scales);
        _mm512_mask_storeu_ps(out + i, mask,
                              _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(mask, weight + i)));
    }
}

void rope_angles(std::int32_t position, const double* inv_freq, std::size_t n_pairs,
                 double magnitude, float* angles) {
    const __m512d scale = _mm512_set1_pd(magnitude);
    for (std::size_t i = 0; i < n_pairs; i += 8) {
        const __mmask16 pairs = first_lanes(n_pairs - i);
        const __m512d x =
            _mm512_mul_pd(_mm512_set1_pd(position),
                          _mm512_maskz_loadu_pd(static_cast<__mmask8>(pairs), inv_freq + i));
        const __m512d k = _mm512_roundscale_pd(_mm512_mul_pd(x, _mm512_set1_pd(kTwoOverPi)),
                                               _MM_FROUND_TO_NEAREST_INT);
        __m512d r = x;
        POTLUCK_UNROLL
        for (const double part : kMinusHalfPi)
            r = _mm512_fmadd_pd(k, _mm512_set1_pd(part), r);
        const __m512d r2 = _mm512_mul_pd(r, r);
        __m512d s = _mm512_setzero_pd();
        __m512d c = _mm512_setzero_pd();
        POTLUCK_UNROLL
        for (int j = 8; j >= 0; --j) {
            s = _mm512_fmadd_pd(s, r2, _mm512_set1_pd(kSinCosSeries.sin[j]));
            c = _mm512_fmadd_pd(c, r2, _mm512_set1_pd(kSinCosSeries.cos[j]));
        }
        s = _mm512_mul_pd(s, r);
        // Quarter turns: odd ones swap the two, 2 and 3 negate the sine, 1 and 2 the cosine.
        const __m512i quarter = _mm512_cvtpd_epi64(k);
        const __mmask8 odd = _mm512_test_epi64_mask(quarter, _mm512_set1_epi64(1));
        const __mmask8 half = _mm512_test_epi64_mask(quarter, _mm512_set1_epi64(2));
        const __m512d minus = _mm512_set1_pd(-0.0);
        __m512d sin = _mm512_mask_blend_pd(odd, s, c);
        __m512d cos = _mm512_mask_blend_pd(odd, c, s);
        sin = _mm512_mask_xor_pd(sin, half, sin, minus);
        cos = _mm512_mask_xor_pd(cos, static_cast<__mmask8>(half ^ odd), cos, minus);
        const __m256 sin_f32 = _mm512_cvtpd_ps(_mm512_mul_pd(sin, scale));
        const __m256 cos_f32 = _mm512_cvtpd_ps(_mm512_mul_pd(cos, scale));
        _mm512_mask_storeu_ps(
            angles + 2 * i, first_lanes(2 * (n_pairs - i)),
            zip16(_mm512_castps256_ps512(cos_f32), _mm512_castps256_ps512(sin_f32)).first);
    }
}

/// (a, b) turned by (cos, sin).
Pairs16 turn(Pairs16 x, Pairs16 angle) {
    return {_mm512_fmsub_ps(x.first, angle.first, _mm512_mul_ps(x.second, angle.second)),
            _mm512_fmadd_ps(x.first, angle.second, _mm512_mul_ps(x.second, angle.first))};
}

Pairs16 load_pairs(const float* pairs, std::size_t n) {
    const __mmask16 low = first_lanes(2 * n);
    const __mmask16 high = n > 8 ? first_lanes(2 * (n - 8)) : static_cast<__mmask16>(0);
    return unzip16(_mm512_maskz_loadu_ps(low, pairs), _mm512_maskz_loadu_ps(high, pairs + 16));
}

void store_pairs(float* pairs, std::size_t n, Pairs16 v) {
    const Pairs16 zipped = zip16(v.first, v.second);
    const __mmask16 high = n > 8 ? first_lanes(2 * (n - 8)) : static_cast<__mmask16>(0);
    _mm512_mask_storeu_ps(pairs, first_lanes(2 * n), zipped.first);
    _mm512_mask_storeu_ps(pairs + 16, high, zipped.second);
}

void rope(const RopeArgs& row) {
    for (std::size_t p = 0; p < row.n_pairs; p += 16) {
        const std::size_t n = row.n_pairs - p < 16 ? row.n_pairs - p : 16;
        const __mmask16 mask = first_lanes(n);
        const Pairs16 angle = load_pairs(row.angles + 2 * p, n);
        for (std::size_t head = 0; head < row.n_heads; ++head) {
            float* const x = row.x + head * row.head_dim;
            if (row.pairing == RopePairing::kNeighbours) {
                store_pairs(x + 2 * p, n, turn(load_pairs(x + 2 * p, n), angle));
                continue;
            }
            float* const a = x + p;
            float* const b = x + p + row.n_pairs;
            const Pairs16 turned =
                turn({_mm512_maskz_loadu_ps(mask, a), _mm512_maskz_loadu_ps(mask, b)}, angle);
            _mm512_mask_storeu_ps(a, mask, turned.first);
            _mm512_mask_storeu_ps(b, mask, turned.second);
        }
    }
}

void to_half(const float* x, std::size_t n, std::uint16_t* out) {
    for (std::size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = first_lanes(n - i);
        const __m256i half =
            _mm512_cvtps_ph(_mm512_maskz_loadu_ps(mask, x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm256_mask_storeu_epi16(out + i, mask, half);
    }
}

void swiglu(const float* gate, const float* up, std::size_t n, float* out) {
    const __m512 one = _mm512_set1_ps(1.0F);
    const __m512 minus = _mm512_set1_ps(-0.0F);
    for (std::size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = first_lanes(n - i);
        const __m512 g = _mm512_maskz_loadu_ps(mask, gate + i);
        const __m512 u = _mm512_maskz_loadu_ps(mask, up + i);
        const __m512 below = _mm512_add_ps(one, exp16(_mm512_xor_ps(g, minus)));
        _mm512_mask_storeu_ps(out + i, mask, _mm512_mul_ps(_mm512_div_ps(g, below), u));
    }
}

void add(const float* a, const float* b, std::size_t n, float* out) {
    for (std::size_t i = 0; i < n; i += 16) {
        const __mmask16 mask = first_lanes(n - i);
        _mm512_mask_storeu_ps(
            out + i, mask,
            _mm512_add_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i)));
    }
}

}  // namespace

const FloatKernels kFloatKernelsAvx512 = {
    .rms_norm = rms_norm,
    .rope_angles = rope_angles,
    .rope = rope,
    .to_half = to_half,
    .swiglu = swiglu,
    .add = add,
    .kv_rows = &kKvRowKernelsAvx512,
    .attention_scores = attention_scores_avx512,
    .attention_values = attention_values_avx512,
    .attention_combine = attention_combine_avx512,
    .attention_finish = attention_finish_avx512,
};

}  // namespace potluck::kernels::cpu
