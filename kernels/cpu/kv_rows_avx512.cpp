// Keys and values into the cache on AVX-512; kv_rows_scalar.cpp says what is stored.

#include "kernels/cpu/kv_codec.h"
#include "kernels/cpu/kv_rows.h"
#include "kernels/cpu/simd_avx512.h"

namespace potluck::kernels::cpu {
namespace {

using V16 = __m512;
using I16 = __m512i;

V16 load(const float* p) {
    return _mm512_loadu_ps(p);
}
void store(float* p, V16 v) {
    _mm512_storeu_ps(p, v);
}
V16 splat(float x) {
    return _mm512_set1_ps(x);
}
V16 add(V16 a, V16 b) {
    return _mm512_add_ps(a, b);
}
V16 sub(V16 a, V16 b) {
    return _mm512_sub_ps(a, b);
}
V16 mul(V16 a, V16 b) {
    return _mm512_mul_ps(a, b);
}
V16 multiply_add(V16 a, V16 b, V16 c) {
    return _mm512_fmadd_ps(a, b, c);
}
V16 subtract_product(V16 a, V16 b, V16 c) {
    return _mm512_fnmadd_ps(a, b, c);
}
V16 larger(V16 a, V16 b) {
    return _mm512_max_ps(a, b);
}
V16 smaller(V16 a, V16 b) {
    return _mm512_min_ps(a, b);
}
V16 rounded(V16 v) {
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
I16 to_int(V16 v) {
    return _mm512_cvtps_epi32(v);
}
void store_bytes(std::int8_t* p, I16 v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
}
I16 count_above(V16 v, const float* borders) {
    I16 count = _mm512_setzero_si512();
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < 7; ++i) {
        const __mmask16 above = _mm512_cmp_ps_mask(v, splat(borders[i]), _CMP_GT_OQ);
        count = _mm512_mask_add_epi32(count, above, count, _mm512_set1_epi32(1));
    }
    return count;
}
V16 table8(I16 index, const float* table) {
    return _mm512_permutexvar_ps(index, _mm512_broadcast_f32x8(_mm256_loadu_ps(table)));
}
/// (a, b) to (a + b, a - b) for lanes that are kStep apart.
template <int kStep>
V16 butterfly(V16 v) {
    V16 other;
    __mmask16 second = 0;
    if constexpr (kStep == 1) {
        other = _mm512_permute_ps(v, 0xB1);
        second = 0xAAAA;
    } else if constexpr (kStep == 2) {
        other = _mm512_permute_ps(v, 0x4E);
        second = 0xCCCC;
    } else if constexpr (kStep == 4) {
        other = _mm512_shuffle_f32x4(v, v, 0xB1);
        second = 0xF0F0;
    } else {
        other = _mm512_shuffle_f32x4(v, v, 0x4E);
        second = 0xFF00;
    }
    return _mm512_mask_sub_ps(_mm512_add_ps(v, other), second, other, v);
}
float fold(V16 v) {
    return fold16(v);
}
float most(V16 v) {
    return _mm512_reduce_max_ps(v);
}
float least(V16 v) {
    return _mm512_reduce_min_ps(v);
}

}  // namespace
}  // namespace potluck::kernels::cpu

#include "kernels/cpu/kv_rows_simd.inc"

namespace potluck::kernels::cpu {

const KvRowKernels kKvRowKernelsAvx512 = {
    .rotate = rotate,
    .quantize_block = quantize_block,
    .quantize_turbo = quantize_turbo,
};

}  // namespace potluck::kernels::cpu
