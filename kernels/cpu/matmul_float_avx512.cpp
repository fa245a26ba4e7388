// Matrix products with F32, F16 and BF16 weights, AVX-512: dot16 of docs/arithmetic.md with the 16
// lanes of one vector along k.

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

/// 16 consecutive weights as f32.
template <TensorType kType>
inline __m512 load_weights(const std::byte* row, std::size_t k) {
    if constexpr (kType == TensorType::kF32) {
        return _mm512_loadu_ps(row + 4 * k);
    } else {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row + 2 * k));
        if constexpr (kType == TensorType::kF16) return _mm512_cvtph_ps(half);
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    }
}

/// The fixed tree: lane[j] += lane[j + h] for h = 8, 4, 2, 1.
inline float fold(__m512 v) {
    const __m256 h8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    const __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
    const __m128 h1 = _mm_add_ss(h2, _mm_movehdup_ps(h2));
    return _mm_cvtss_f32(h1);
}

template <TensorType kType, unsigned R, std::size_t N>
inline void rows_kernel(const FloatCall& c, const std::byte* weights, unsigned first) {
    __m512 acc[R][N];
    POTLUCK_UNROLL
    for (unsigned r = 0; r < R; ++r)
        POTLUCK_UNROLL
    for (std::size_t n = 0; n < N; ++n)
        acc[r][n] = _mm512_setzero_ps();
    for (std::size_t k = 0; k < c.columns; k += 16) {
        const std::size_t rest = c.columns - k;
        // Beyond the row's end both factors are zeros, as the rule says.
        const auto exist = static_cast<__mmask16>(rest >= 16 ? 0xFFFFU : (1U << rest) - 1U);
        __m512 w[R];
        POTLUCK_UNROLL
        for (unsigned r = 0; r < R; ++r)
            w[r] = load_weights<kType>(weights + r * c.weight_stride, k);
        POTLUCK_UNROLL
        for (std::size_t n = 0; n < N; ++n) {
            const __m512 x = _mm512_maskz_loadu_ps(exist, c.x + n * c.columns + k);
            POTLUCK_UNROLL
            for (unsigned r = 0; r < R; ++r)
                acc[r][n] = _mm512_fmadd_ps(w[r], x, acc[r][n]);
        }
    }
    POTLUCK_UNROLL
    for (std::size_t n = 0; n < N; ++n)
        POTLUCK_UNROLL
    for (unsigned r = 0; r < R; ++r) {
        float y = fold(acc[r][n]);
        if (c.bias != nullptr) y += c.bias[first + r];
        c.out[n * c.out_stride + first + r] = y;
    }
}

template <TensorType kType, std::size_t N>
void float_kernel(const FloatCall& c) {
    if (c.rows == kFloatTileRows) return rows_kernel<kType, kFloatTileRows, N>(c, c.weights, 0);
    for (unsigned r = 0; r < c.rows; ++r)
        rows_kernel<kType, 1, N>(c, c.weights + r * c.weight_stride, r);
}

template <TensorType kType>
FloatProductKernels kernels_of() {
    return {{nullptr, float_kernel<kType, 1>, float_kernel<kType, 2>, float_kernel<kType, 3>,
             float_kernel<kType, 4>}};
}

}  // namespace

FloatProductKernels float_kernels_avx512(TensorType type) {
    switch (type) {
        case TensorType::kF32:
            return kernels_of<TensorType::kF32>();
        case TensorType::kF16:
            return kernels_of<TensorType::kF16>();
        case TensorType::kBF16:
            return kernels_of<TensorType::kBF16>();
        default:
            return {};
    }
}

}  // namespace potluck::kernels::cpu
