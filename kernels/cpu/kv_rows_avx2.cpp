// Keys and values into the cache on AVX2; kv_rows_scalar.cpp says what is stored.

#include "kernels/cpu/kv_codec.h"
#include "kernels/cpu/kv_rows.h"
#include "kernels/cpu/simd_avx2.h"

namespace potluck::kernels::cpu {
namespace {

using V16 = Lanes;
struct I16 {
    __m256i low;
    __m256i high;
};

V16 load(const float* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
void store(float* p, V16 v) {
    _mm256_storeu_ps(p, v.low);
    _mm256_storeu_ps(p + 8, v.high);
}
V16 splat(float x) {
    return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
V16 add(V16 a, V16 b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
}
V16 sub(V16 a, V16 b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
}
V16 mul(V16 a, V16 b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
}
V16 multiply_add(V16 a, V16 b, V16 c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
V16 subtract_product(V16 a, V16 b, V16 c) {
    return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
}
V16 larger(V16 a, V16 b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
V16 smaller(V16 a, V16 b) {
    return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
V16 rounded(V16 v) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(v.low, kNearest), _mm256_round_ps(v.high, kNearest)};
}
I16 to_int(V16 v) {
    return {_mm256_cvtps_epi32(v.low), _mm256_cvtps_epi32(v.high)};
}
void store_bytes(std::int8_t* p, I16 v) {
    // Saturation changes nothing: the numbers fit. Packing works within halves, hence the order.
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.low, v.high), 0xD8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
I16 count_above(V16 v, const float* borders) {
    I16 count = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < 7; ++i) {
        const __m256 border = _mm256_set1_ps(borders[i]);
        // A true comparison is -1.
        count.low = _mm256_sub_epi32(count.low,
                                     _mm256_castps_si256(_mm256_cmp_ps(v.low, border, _CMP_GT_OQ)));
        count.high = _mm256_sub_epi32(
            count.high, _mm256_castps_si256(_mm256_cmp_ps(v.high, border, _CMP_GT_OQ)));
    }
    return count;
}
V16 table8(I16 index, const float* table) {
    const __m256 values = _mm256_loadu_ps(table);
    return {_mm256_permutevar8x32_ps(values, index.low),
            _mm256_permutevar8x32_ps(values, index.high)};
}
/// (a, b) to (a + b, a - b) for lanes that are kStep apart.
template <int kStep>
__m256 butterfly8(__m256 v) {
    __m256 other;
    if constexpr (kStep == 1) {
        other = _mm256_permute_ps(v, 0xB1);
    } else if constexpr (kStep == 2) {
        other = _mm256_permute_ps(v, 0x4E);
    } else {
        other = _mm256_permute2f128_ps(v, v, 0x01);
    }
    constexpr int kSecond = kStep == 1 ? 0xAA : (kStep == 2 ? 0xCC : 0xF0);
    return _mm256_blend_ps(_mm256_add_ps(v, other), _mm256_sub_ps(other, v), kSecond);
}
template <int kStep>
V16 butterfly(V16 v) {
    if constexpr (kStep == 8) {
        return {_mm256_add_ps(v.low, v.high), _mm256_sub_ps(v.low, v.high)};
    } else {
        return {butterfly8<kStep>(v.low), butterfly8<kStep>(v.high)};
    }
}
float most(V16 v) {
    const __m256 m8 = _mm256_max_ps(v.low, v.high);
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}
float least(V16 v) {
    const __m256 m8 = _mm256_min_ps(v.low, v.high);
    const __m128 m4 = _mm_min_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_min_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_min_ss(m2, _mm_movehdup_ps(m2)));
}

}  // namespace
}  // namespace potluck::kernels::cpu

#include "kernels/cpu/kv_rows_simd.inc"

namespace potluck::kernels::cpu {

const KvRowKernels kKvRowKernelsAvx2 = {
    .rotate = rotate,
    .quantize_block = quantize_block,
    .quantize_turbo = quantize_turbo,
};

}  // namespace potluck::kernels::cpu
