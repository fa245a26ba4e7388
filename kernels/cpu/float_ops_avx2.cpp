// The float operations on AVX2, FMA and F16C; float_ops_scalar.cpp says what they are.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/attention_avx2.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/simd_avx2.h"
#include "kernels/cpu/sincos_constants.h"

namespace potluck::kernels::cpu {
namespace {

void rms_norm(const float* x, const float* weight, std::size_t width, float epsilon, float* out) {
    Lanes lanes = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (std::size_t i = 0; i < width; i += 16) {
        // Both halves always: the page pads the last sixteen with zeros.
        const __m256 low = load_first(x + i, width - i);
        const __m256 high =
            width - i > 8 ? load_first(x + i + 8, width - i - 8) : _mm256_setzero_ps();
        lanes.low = _mm256_fmadd_ps(low, low, lanes.low);
        lanes.high = _mm256_fmadd_ps(high, high, lanes.high);
    }
    const float mean = fold(lanes) / static_cast<float>(width);
    const float scale = 1.0F / __builtin_sqrtf(mean + epsilon);
    const __m256 scales = _mm256_set1_ps(scale);
    for (std::size_t i = 0; i < width; i += 8) {
        const __m256 scaled = _mm256_mul_ps(load_first(x + i, width - i), scales);
        store_first(out + i, width - i, _mm256_mul_ps(scaled, load_first(weight + i, width - i)));
    }
}

/// Four angles (cos, sin), as floats in the two halves of the pair.
void angles4(__m256d x, __m256d scale, __m128& cos_f32, __m128& sin_f32) {
    const __m256d k = _mm256_round_pd(_mm256_mul_pd(x, _mm256_set1_pd(kTwoOverPi)),
                                      _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256d r = x;
    POTLUCK_UNROLL
    for (const double part : kMinusHalfPi)
        r = _mm256_fmadd_pd(k, _mm256_set1_pd(part), r);
    const __m256d r2 = _mm256_mul_pd(r, r);
    __m256d s = _mm256_setzero_pd();
    __m256d c = _mm256_setzero_pd();
    POTLUCK_UNROLL
    for (int j = 8; j >= 0; --j) {
        s = _mm256_fmadd_pd(s, r2, _mm256_set1_pd(kSinCosSeries.sin[j]));
        c = _mm256_fmadd_pd(c, r2, _mm256_set1_pd(kSinCosSeries.cos[j]));
    }
    s = _mm256_mul_pd(s, r);
    // Quarter turns: odd ones swap the two, 2 and 3 negate the sine, 1 and 2 the cosine. The
    // quarter's low two bits go to the sign bit of each f64.
    const __m256i quarter = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(k));
    const __m256d odd = _mm256_castsi256_pd(_mm256_slli_epi64(quarter, 63));
    const __m256d half = _mm256_castsi256_pd(_mm256_slli_epi64(quarter, 62));
    const __m256d minus = _mm256_set1_pd(-0.0);
    const __m256d sin = _mm256_xor_pd(_mm256_blendv_pd(s, c, odd), _mm256_and_pd(half, minus));
    const __m256d cos =
        _mm256_xor_pd(_mm256_blendv_pd(c, s, odd), _mm256_and_pd(_mm256_xor_pd(half, odd), minus));
    cos_f32 = _mm256_cvtpd_ps(_mm256_mul_pd(cos, scale));
    sin_f32 = _mm256_cvtpd_ps(_mm256_mul_pd(sin, scale));
}

void rope_angles(std::int32_t position, const double* inv_freq, std::size_t n_pairs,
                 double magnitude, float* angles) {
    const __m256d scale = _mm256_set1_pd(magnitude);
    for (std::size_t i = 0; i < n_pairs; i += 4) {
        const std::size_t n = n_pairs - i < 4 ? n_pairs - i : 4;
        const __m256i mask = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(first_lanes(n)));
        const __m256d x =
            _mm256_mul_pd(_mm256_set1_pd(position), _mm256_maskload_pd(inv_freq + i, mask));
        __m128 cos;
        __m128 sin;
        angles4(x, scale, cos, sin);
        const __m256 pairs = zip8(_mm256_castps128_ps256(cos), _mm256_castps128_ps256(sin)).first;
        store_first(angles + 2 * i, 2 * n, pairs);
    }
}

/// (a, b) turned by (cos, sin).
Pairs8 turn(const Pairs8& x, const Pairs8& angle) {
    return {_mm256_fmsub_ps(x.first, angle.first, _mm256_mul_ps(x.second, angle.second)),
            _mm256_fmadd_ps(x.first, angle.second, _mm256_mul_ps(x.second, angle.first))};
}

Pairs8 load_pairs(const float* pairs, std::size_t n) {
    return unzip8(load_first(pairs, 2 * n), load_first(pairs + 8, n > 4 ? 2 * (n - 4) : 0));
}

void store_pairs(float* pairs, std::size_t n, const Pairs8& v) {
    const Pairs8 zipped = zip8(v.first, v.second);
    store_first(pairs, 2 * n, zipped.first);
    store_first(pairs + 8, n > 4 ? 2 * (n - 4) : 0, zipped.second);
}

void rope(const RopeArgs& row) {
    for (std::size_t p = 0; p < row.n_pairs; p += 8) {
        const std::size_t n = row.n_pairs - p < 8 ? row.n_pairs - p : 8;
        const Pairs8 angle = load_pairs(row.angles + 2 * p, n);
        for (std::size_t head = 0; head < row.n_heads; ++head) {
            float* const x = row.x + head * row.head_dim;
            if (row.pairing == RopePairing::kNeighbours) {
                store_pairs(x + 2 * p, n, turn(load_pairs(x + 2 * p, n), angle));
                continue;
            }
            float* const a = x + p;
            float* const b = x + p + row.n_pairs;
            const Pairs8 turned = turn({load_first(a, n), load_first(b, n)}, angle);
            store_first(a, n, turned.first);
            store_first(b, n, turned.second);
        }
    }
}

void to_half(const float* x, std::size_t n, std::uint16_t* out) {
    std::size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), half);
    }
    for (; i < n; ++i) {
        const __m128i half = _mm_cvtps_ph(_mm_set_ss(x[i]), _MM_FROUND_TO_NEAREST_INT);
        out[i] = static_cast<std::uint16_t>(_mm_extract_epi16(half, 0));
    }
}

void swiglu(const float* gate, const float* up, std::size_t n, float* out) {
    const __m256 one = _mm256_set1_ps(1.0F);
    const __m256 minus = _mm256_set1_ps(-0.0F);
    for (std::size_t i = 0; i < n; i += 8) {
        const __m256 g = load_first(gate + i, n - i);
        const __m256 u = load_first(up + i, n - i);
        const __m256 below = _mm256_add_ps(one, exp8(_mm256_xor_ps(g, minus)));
        store_first(out + i, n - i, _mm256_mul_ps(_mm256_div_ps(g, below), u));
    }
}

void add(const float* a, const float* b, std::size_t n, float* out) {
    for (std::size_t i = 0; i < n; i += 8)
        store_first(out + i, n - i,
                    _mm256_add_ps(load_first(a + i, n - i), load_first(b + i, n - i)));
}

}  // namespace

const FloatKernels kFloatKernelsAvx2 = {
    .rms_norm = rms_norm,
    .rope_angles = rope_angles,
    .rope = rope,
    .to_half = to_half,
    .swiglu = swiglu,
    .add = add,
    .kv_rows = &kKvRowKernelsAvx2,
    .attention_scores = attention_scores_avx2,
    .attention_values = attention_values_avx2,
    .attention_combine = attention_combine_avx2,
    .attention_finish = attention_finish_avx2,
};

}  // namespace potluck::kernels::cpu
