// Matrix products with F32, F16 and BF16 weights, AVX2: dot16 of docs/arithmetic.md with its 16
// lanes in two vectors along k.

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

/// 8 consecutive weights as f32.
template <TensorType kType>
inline __m256 load_weights(const std::byte* row, std::size_t k) {
    if constexpr (kType == TensorType::kF32) {
        return _mm256_loadu_ps(reinterpret_cast<const float*>(row) + k);
    } else {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * k));
        if constexpr (kType == TensorType::kF16) return _mm256_cvtph_ps(half);
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    }
}

/// The fixed tree: lane[j] += lane[j + h] for h = 8, 4, 2, 1.
inline float fold(__m256 low, __m256 high) {
    const __m256 h8 = _mm256_add_ps(low, high);
    const __m128 h4 = _mm_add_ps(_mm256_castps256_ps128(h8), _mm256_extractf128_ps(h8, 1));
    const __m128 h2 = _mm_add_ps(h4, _mm_movehl_ps(h4, h4));
    const __m128 h1 = _mm_add_ss(h2, _mm_movehdup_ps(h2));
    return _mm_cvtss_f32(h1);
}

/// Lanes [0, n) set, for the masked loads; n may be outside 0..8.
inline __m256i first_lanes(std::ptrdiff_t n) {
    const int clamped = n < 0 ? 0 : n > 8 ? 8 : static_cast<int>(n);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(clamped),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

template <TensorType kType, unsigned R, std::size_t N>
inline void rows_kernel(const FloatCall& c, const std::byte* weights, unsigned first) {
    __m256 acc[R][N][2];
    POTLUCK_UNROLL
    for (unsigned r = 0; r < R; ++r)
        POTLUCK_UNROLL
    for (std::size_t n = 0; n < N; ++n)
        acc[r][n][0] = acc[r][n][1] = _mm256_setzero_ps();
    const auto step = [&](std::size_t k, __m256i exist, int half) {
        __m256 w[R];
        POTLUCK_UNROLL
        for (unsigned r = 0; r < R; ++r)
            w[r] = load_weights<kType>(weights + r * c.weight_stride, k);
        POTLUCK_UNROLL
        for (std::size_t n = 0; n < N; ++n) {
            const __m256 x = _mm256_maskload_ps(c.x + n * c.columns + k, exist);
            POTLUCK_UNROLL
            for (unsigned r = 0; r < R; ++r)
                acc[r][n][half] = _mm256_fmadd_ps(w[r], x, acc[r][n][half]);
        }
    };
    const std::size_t whole = c.columns / 16 * 16;
    const __m256i all = _mm256_set1_epi32(-1);
    for (std::size_t k = 0; k < whole; k += 16) {
        step(k, all, 0);
        step(k + 8, all, 1);
    }
    if (whole < c.columns) {  // beyond the row's end both factors are zeros, as the rule says
        const auto rest = static_cast<std::ptrdiff_t>(c.columns - whole);
        step(whole, first_lanes(rest), 0);
        step(whole + 8, first_lanes(rest - 8), 1);
    }
    POTLUCK_UNROLL
    for (std::size_t n = 0; n < N; ++n)
        POTLUCK_UNROLL
    for (unsigned r = 0; r < R; ++r) {
        float y = fold(acc[r][n][0], acc[r][n][1]);
        if (c.bias != nullptr) y += c.bias[first + r];
        c.out[n * c.out_stride + first + r] = y;
    }
}

template <TensorType kType, std::size_t N>
void float_kernel(const FloatCall& c) {
    // Sixteen registers: 2 rows by 2 batch rows are 8 accumulators.
    constexpr unsigned kRows = N == 1 ? 4 : 2;
    unsigned r = 0;
    for (; r + kRows <= c.rows; r += kRows)
        rows_kernel<kType, kRows, N>(c, c.weights + r * c.weight_stride, r);
    for (; r < c.rows; ++r)
        rows_kernel<kType, 1, N>(c, c.weights + r * c.weight_stride, r);
}

template <TensorType kType>
FloatProductKernels kernels_of() {
    return {{nullptr, float_kernel<kType, 1>, float_kernel<kType, 2>}};
}

}  // namespace

FloatProductKernels float_kernels_avx2(TensorType type) {
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
