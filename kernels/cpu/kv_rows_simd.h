#pragma once

// What kv_rows_avx2.cpp and kv_rows_avx512.cpp share: kv_rows_scalar.cpp on sixteen lanes. The file
// that includes this has defined them in an anonymous namespace: V16 and I16, load, store, splat,
// add, sub, mul, multiply_add (a b + c), subtract_product (c - a b), larger (a > b ? a : b),
// smaller (a < b ? a : b), rounded, to_int, store_bytes, count_above, table8, butterfly, fold,
// most, least. Everything has internal linkage, so that no copy of it can serve a file that was
// compiled for less.

namespace potluck::kernels::cpu {
namespace {

float half_value(std::uint16_t half) {
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
}
std::uint16_t to_half_bits(float x) {
    return static_cast<std::uint16_t>(
        _mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(x), _MM_FROUND_TO_NEAREST_INT), 0));
}

template <std::size_t kVectors>
void rotate_vectors(const float* x, bool back, float* out) {
    constexpr std::size_t n = kVectors * 16;
    V16 v[kVectors];
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kVectors; ++i) {
        v[i] = load(x + 16 * i);
        if (!back) v[i] = mul(v[i], load(kKvSigns.sign + 16 * i));
        v[i] = butterfly<8>(butterfly<4>(butterfly<2>(butterfly<1>(v[i]))));
    }
    POTLUCK_UNROLL
    for (std::size_t h = 1; h < kVectors; h *= 2) {
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kVectors; ++i) {
            if ((i & h) != 0) continue;
            const V16 a = v[i];
            const V16 b = v[i + h];
            v[i] = add(a, b);
            v[i + h] = sub(a, b);
        }
    }
    const V16 scale = splat(1.0F / __builtin_sqrtf(static_cast<float>(n)));
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kVectors; ++i)
        store(out + 16 * i, mul(v[i], back ? mul(scale, load(kKvSigns.sign + 16 * i)) : scale));
}

void rotate(const float* x, std::size_t n, bool back, float* out) {
    if (n == 128) {
        rotate_vectors<8>(x, back, out);
    } else if (n == 64) {
        rotate_vectors<4>(x, back, out);
    } else {
        rotate_vectors<2>(x, back, out);
    }
}

/// A block and the borders of its levels.
struct Block {
    V16 a;
    V16 b;
    V16 low;
    V16 high;
};

V16 to_level(V16 x, V16 inverse, const Block& block) {
    return rounded(smaller(larger(mul(x, inverse), block.low), block.high));
}

float block_error(const Block& block, float d, float inverse) {
    const V16 scale = splat(d);
    const V16 id = splat(inverse);
    const V16 r = subtract_product(to_level(block.a, id, block), scale, block.a);
    const V16 s = subtract_product(to_level(block.b, id, block), scale, block.b);
    return fold(multiply_add(s, s, multiply_add(r, r, splat(0.0F))));
}

/// The candidate scale of the least error.
std::uint16_t best_scale(const Block& block, float peak, float half) {
    const __m256 steps = _mm256_setr_ps(0.0F, 0.25F, 0.5F, 0.75F, 1.0F, 1.25F, 1.5F, 1.75F);
    const __m128i scales = _mm256_cvtps_ph(
        _mm256_div_ps(_mm256_set1_ps(peak), _mm256_sub_ps(steps, _mm256_set1_ps(half + 1))),
        _MM_FROUND_TO_NEAREST_INT);
    const __m256 d = _mm256_cvtph_ps(scales);
    const __m256 inverse = _mm256_and_ps(_mm256_cmp_ps(d, _mm256_setzero_ps(), _CMP_NEQ_UQ),
                                         _mm256_div_ps(_mm256_set1_ps(1.0F), d));
    alignas(32) float ds[kKvCandidates];
    alignas(32) float inverses[kKvCandidates];
    alignas(16) std::uint16_t halves[kKvCandidates];
    _mm256_store_ps(ds, d);
    _mm256_store_ps(inverses, inverse);
    _mm_store_si128(reinterpret_cast<__m128i*>(halves), scales);
    float errors[kKvCandidates];
    for (std::size_t c = 0; c < kKvCandidates; ++c)
        errors[c] = block_error(block, ds[c], inverses[c]);
    std::size_t best = 0;
    for (std::size_t c = 1; c < kKvCandidates; ++c)
        best = errors[c] < errors[best] ? c : best;
    return halves[best];
}

std::uint16_t quantize_block(KvType type, const float* x, std::int8_t* q) {
    const V16 zero = splat(0.0F);
    Block block = {load(x), load(x + 16), splat(-127.0F), splat(127.0F)};
    const float above = most(larger(block.b, larger(block.a, zero)));
    const float below = least(smaller(block.b, smaller(block.a, zero)));
    const float peak = above >= -below ? above : below;
    std::uint16_t scale = 0;
    if (type == KvType::kQ8_0) {
        scale = to_half_bits(__builtin_fabsf(peak) / 127.0F);
    } else {
        const float half = type == KvType::kQ4_0 ? 8.0F : 16.0F;
        block.low = splat(-half);
        block.high = splat(half - 1);
        scale = best_scale(block, peak, half);
    }
    const float d = half_value(scale);
    const V16 inverse = splat(d != 0.0F ? 1.0F / d : 0.0F);
    store_bytes(q, to_int(to_level(block.a, inverse, block)));
    store_bytes(q + 16, to_int(to_level(block.b, inverse, block)));
    return scale;
}

std::uint16_t quantize_turbo(const float* x, std::size_t n, std::int8_t* index) {
    V16 squares = splat(0.0F);
    for (std::size_t i = 0; i < n; i += 16) {
        const V16 v = load(x + i);
        squares = multiply_add(v, v, squares);
    }
    const float norm = __builtin_sqrtf(fold(squares));
    const float to_unit = norm > 0 ? __builtin_sqrtf(static_cast<float>(n)) / norm : 0.0F;
    V16 points = splat(0.0F);
    for (std::size_t i = 0; i < n; i += 16) {
        const I16 at = count_above(mul(load(x + i), splat(to_unit)), kTurboBorders);
        store_bytes(index + i, at);
        const V16 point = table8(at, kTurboPoints);
        points = multiply_add(point, point, points);
    }
    return to_half_bits(norm / __builtin_sqrtf(fold(points)));
}

}  // namespace
}  // namespace potluck::kernels::cpu
