// The loops of limits_kernels.h with AVX2.

#include <immintrin.h>

#include "kernels/cpu/limits_kernels.h"

namespace potluck::kernels::cpu {
namespace {

#define POTLUCK_UNROLL _Pragma("GCC unroll 16")

/// Streams that are read side by side: the hardware fetches ahead for each, and four read faster
/// than one by a quarter on Zen 5, with or without prefetch instructions.
constexpr std::size_t kStreams = 4;
/// Sums that are under way at once; factors, ones and intermediate products need registers too.
constexpr int kSums = 10;

std::uint64_t fold(__m256i v) {
    const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(half)) +
           static_cast<std::uint64_t>(_mm_extract_epi64(half, 1));
}

std::uint64_t read(const std::byte* data, std::size_t bytes) {
    const std::size_t stream = bytes / kStreams;
    __m256i sums[2 * kStreams];
    POTLUCK_UNROLL
    for (auto& sum : sums)
        sum = _mm256_setzero_si256();
    for (std::size_t at = 0; at < stream; at += 64) {
        POTLUCK_UNROLL
        for (std::size_t s = 0; s < kStreams; ++s) {
            const auto* const p = reinterpret_cast<const __m256i*>(data + s * stream + at);
            sums[2 * s] = _mm256_xor_si256(sums[2 * s], _mm256_load_si256(p));
            sums[2 * s + 1] = _mm256_xor_si256(sums[2 * s + 1], _mm256_load_si256(p + 1));
        }
    }
    POTLUCK_UNROLL
    for (std::size_t s = 1; s < 2 * kStreams; ++s)
        sums[0] = _mm256_xor_si256(sums[0], sums[s]);
    return fold(sums[0]);
}

std::uint64_t multiply(std::size_t rounds) {
    __m256i sums[kSums];
    POTLUCK_UNROLL
    for (int i = 0; i < kSums; ++i)
        sums[i] = _mm256_set1_epi32(i);
    const __m256i a = _mm256_set1_epi8(3);
    const __m256i b = _mm256_set1_epi8(-2);
    const __m256i ones = _mm256_set1_epi16(1);
    for (std::size_t round = 0; round < rounds; ++round) {
        // Written out, so that the compiler neither shares the products nor moves the sums about.
        POTLUCK_UNROLL
        for (int i = 0; i < kSums; ++i) {
            __m256i product;
            asm volatile(
                "vpmaddubsw %3, %2, %1\n\t"
                "vpmaddwd %4, %1, %1\n\t"
                "vpaddd %1, %0, %0"
                : "+x"(sums[i]), "=&x"(product)
                : "x"(a), "x"(b), "x"(ones));
        }
    }
    POTLUCK_UNROLL
    for (int i = 1; i < kSums; ++i)
        sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    return fold(sums[0]);
}

}  // namespace

const LimitKernels kLimitKernelsAvx2 = {
    .read = read, .multiply = multiply, .operations_per_round = std::size_t{kSums} * 32 * 2};

}  // namespace potluck::kernels::cpu
