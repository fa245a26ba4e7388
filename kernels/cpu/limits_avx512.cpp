// The loops of limits_kernels.h with AVX-512 and VNNI.

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own intrinsics' deliberately undefined pass-through operands for mistakes.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "kernels/cpu/limits_kernels.h"

namespace potluck::kernels::cpu {
namespace {

#define POTLUCK_UNROLL _Pragma("GCC unroll 16")

/// Streams that are read side by side: the hardware fetches ahead for each, and four read faster
/// than one by a quarter on Zen 5, with or without prefetch instructions.
constexpr std::size_t kStreams = 4;
/// Sums that are under way at once, enough to hide the latency of vpdpbusd twice over.
constexpr int kSums = 16;

std::uint64_t read(const std::byte* data, std::size_t bytes) {
    const std::size_t stream = bytes / kStreams;
    __m512i sums[2 * kStreams];
    POTLUCK_UNROLL
    for (auto& sum : sums)
        sum = _mm512_setzero_si512();
    for (std::size_t at = 0; at < stream; at += 128) {
        POTLUCK_UNROLL
        for (std::size_t s = 0; s < kStreams; ++s) {
            const std::byte* const p = data + s * stream + at;
            sums[2 * s] = _mm512_xor_si512(sums[2 * s], _mm512_load_si512(p));
            sums[2 * s + 1] = _mm512_xor_si512(sums[2 * s + 1], _mm512_load_si512(p + 64));
        }
    }
    POTLUCK_UNROLL
    for (std::size_t s = 1; s < 2 * kStreams; ++s)
        sums[0] = _mm512_xor_si512(sums[0], sums[s]);
    return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sums[0]));
}

std::uint64_t multiply(std::size_t rounds) {
    __m512i sums[kSums];
    POTLUCK_UNROLL
    for (int i = 0; i < kSums; ++i)
        sums[i] = _mm512_set1_epi32(i);
    const __m512i a = _mm512_set1_epi8(3);
    const __m512i b = _mm512_set1_epi8(-2);
    for (std::size_t round = 0; round < rounds; ++round) {
        // Written out, because GCC 12 copies the sums from register to register around the
        // intrinsic, which halves the speed.
        POTLUCK_UNROLL
        for (int i = 0; i < kSums; ++i)
            asm volatile("vpdpbusd %2, %1, %0" : "+v"(sums[i]) : "v"(a), "v"(b));
    }
    POTLUCK_UNROLL
    for (int i = 1; i < kSums; ++i)
        sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    return static_cast<std::uint64_t>(_mm512_reduce_add_epi64(sums[0]));
}

}  // namespace

const LimitKernels kLimitKernelsAvx512 = {
    .read = read, .multiply = multiply, .operations_per_round = std::size_t{kSums} * 64 * 2};

}  // namespace potluck::kernels::cpu
