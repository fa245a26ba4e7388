// Quantised matrix products with AVX-512 VNNI. A 512-bit vector of 32-bit lanes is 16 weight rows;
// vpdpbusd adds 4 products of unsigned weights and signed activations into each lane. Weights are
// decoded to unsigned bytes once per tile block and used for N batch rows; what makes them signed
// (an offset per type) is subtracted in integers with the activation's sums, so every sum is exact.
//
// Everything here is in an anonymous namespace: code that was compiled for this instruction set
// must not be merged with the same code of other files.

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 takes its own intrinsics' deliberately undefined pass-through operands for mistakes.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <bit>
#include <cstring>
#include <utility>

#include "kernels/cpu/tile_kernels.h"
#include "kernels/cpu/tile_layout.h"

namespace potluck::kernels::cpu {
namespace {

// Loops over registers must disappear whatever the optimisation level; with the address sanitiser
// they stay, because it makes unrolled kernels take minutes to compile.
#if defined(__SANITIZE_ADDRESS__)
#define POTLUCK_UNROLL
#else
#define POTLUCK_UNROLL _Pragma("GCC unroll 16")
#endif

#define POTLUCK_INLINE inline __attribute__((always_inline))

/// What the stored unsigned bytes exceed the weights by.
constexpr int unsigned_offset(const TileFormat& f) {
    return f.bytes || f.codebook != Codebook::kNone ? 128 : f.offset;
}

POTLUCK_INLINE __m512i load64(const std::byte* p) {
    return _mm512_loadu_si512(p);
}

POTLUCK_INLINE __m512 load_halves(const std::byte* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

POTLUCK_INLINE __m512i load_uint8(const std::byte* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

POTLUCK_INLINE __m512i load_int8(const std::byte* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

/// Four bytes in every lane.
POTLUCK_INLINE __m512i broadcast4(const void* p) {
    int word = 0;
    std::memcpy(&word, p, 4);
    return _mm512_set1_epi32(word);
}

/// Shifts that keep the bits of each byte that the caller masks; positive is left.
template <int kLeft>
POTLUCK_INLINE __m512i shift(__m512i v) {
    if constexpr (kLeft > 0)
        return _mm512_slli_epi16(v, kLeft);
    else if constexpr (kLeft < 0)
        return _mm512_srli_epi16(v, -kLeft);
    else
        return v;
}

/// a | (b & mask)
POTLUCK_INLINE __m512i merge(__m512i a, __m512i b, int mask) {
    return _mm512_ternarylogic_epi32(a, b, _mm512_set1_epi8(static_cast<char>(mask)), 0xF8);
}

/// Groups kGroup … 7 of a plane of pairs: 2 bits of group g to bit `kTo` of the weights.
template <int kTo, int kGroup = 0>
POTLUCK_INLINE void merge_pairs(const __m512i plane[2], __m512i w[8]) {
    if constexpr (kGroup < 8) {
        const __m512i bits = shift<kTo - kGroup / 2 * 2>(plane[kGroup % 2]);
        w[kGroup] = merge(w[kGroup], bits, 3 << kTo);
        merge_pairs<kTo, kGroup + 1>(plane, w);
    }
}

template <int kTo, int kGroup = 0>
POTLUCK_INLINE void merge_bits(__m512i plane, __m512i w[8]) {
    if constexpr (kGroup < 8) {
        w[kGroup] = merge(w[kGroup], shift<kTo - kGroup>(plane), 1 << kTo);
        merge_bits<kTo, kGroup + 1>(plane, w);
    }
}

/// The 16 table entries plus 128, in each quarter of the vector.
template <TensorType kType>
POTLUCK_INLINE __m512i unsigned_table() {
    constexpr const std::int8_t* values =
        tile_format(kType).codebook == Codebook::kIq4 ? kIq4Values : kMxfp4Values;
    const __m128i table = _mm_loadu_si128(reinterpret_cast<const __m128i*>(values));
    return _mm512_broadcast_i32x4(_mm_xor_si128(table, _mm_set1_epi8(-128)));
}

/// The 32 elements of a tile block as unsigned bytes: w[g] holds elements 4g … 4g+3 of 16 rows.
template <TensorType kType>
POTLUCK_INLINE void decode(const std::byte* quants, __m512i w[8]) {
    constexpr TileFormat kFormat = tile_format(kType);
    if constexpr (kFormat.bytes) {
        POTLUCK_UNROLL
        for (int g = 0; g < 8; ++g)
            w[g] = _mm512_xor_si512(load64(quants + 64 * g), _mm512_set1_epi8(-128));
        return;
    }
    constexpr int kPairsAt = kFormat.nibbles ? 4 : 0;
    constexpr int kBitsAt = kPairsAt + (kFormat.pairs ? 2 : 0);
    POTLUCK_UNROLL
    for (int g = 0; g < 8; ++g)
        w[g] = _mm512_setzero_si512();
    if constexpr (kFormat.nibbles) {
        const __m512i low = _mm512_set1_epi8(15);
        POTLUCK_UNROLL
        for (int g = 0; g < 4; ++g) {
            __m512i both = load64(quants + 64 * g);
            asm("" : "+v"(both));  // one load: loads bound these kernels, and GCC would make it two
            w[g] = _mm512_and_si512(both, low);
            w[g + 4] = _mm512_and_si512(shift<-4>(both), low);
        }
        quants += 64 * kNibbleVectors;
    }
    if constexpr (kFormat.codebook != Codebook::kNone) {
        const __m512i table = unsigned_table<kType>();
        POTLUCK_UNROLL
        for (int g = 0; g < 8; ++g)
            w[g] = _mm512_shuffle_epi8(table, w[g]);
    }
    if constexpr (kFormat.pairs) {
        const __m512i planes[2] = {load64(quants), load64(quants + 64)};
        merge_pairs<kPairsAt>(planes, w);
        quants += 64 * kPairVectors;
    }
    if constexpr (kFormat.bits) merge_bits<kBitsAt>(load64(quants), w);
}

/// The scales of one tile block; which fields are set depends on the record.
struct Scales {
    __m512 d;
    __m512 m;          ///< m, or -(dmin * min)
    __m512i scale[2];  ///< of the halves
    __m512i unoffset;  ///< of the halves: pairs of int16 to multiply with their sums
    __m512 dmin;
    __m512i mins;  ///< pairs of int16
};

POTLUCK_INLINE __m512i int16_pair(__m512i low, __m512i high) {
    const __m512i mask = _mm512_set1_epi32(0xFFFF);
    return _mm512_ternarylogic_epi32(_mm512_slli_epi32(high, 16), low, mask, 0xF8);
}

POTLUCK_INLINE __m512 load_exponents(const std::byte* p) {
    const __m512i e = load_uint8(p);
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    const __mmask16 is_tiny = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_blend_epi32(is_tiny, normal, tiny));
}

template <TensorType kType>
POTLUCK_INLINE Scales load_scales(const std::byte* record, std::size_t sub) {
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr ScaleRecord kRecord = kFormat.scales;
    Scales s;
    if constexpr (kRecord == ScaleRecord::kExponent) {
        s.d = load_exponents(record);
    } else {
        s.d = load_halves(record);
    }
    if constexpr (kRecord == ScaleRecord::kHalfPair) s.m = load_halves(record + 32);
    if constexpr (kRecord == ScaleRecord::kSubScale)
        s.d = _mm512_mul_ps(s.d, _mm512_cvtepi32_ps(load_int8(record + 32 + 16 * sub)));
    if constexpr (kRecord == ScaleRecord::kSubScaleMin) {
        const std::byte* small = record + 64 + 32 * sub;
        s.d = _mm512_mul_ps(s.d, _mm512_cvtepi32_ps(load_uint8(small)));
        const __m512 product =
            _mm512_mul_ps(load_halves(record + 32), _mm512_cvtepi32_ps(load_uint8(small + 16)));
        s.m = _mm512_xor_ps(product, _mm512_set1_ps(-0.0F));
    }
    if constexpr (kRecord == ScaleRecord::kHalfScales) {
        const std::byte* small = record + 32 + 32 * sub;
        s.scale[0] = load_int8(small);
        s.scale[1] = load_int8(small + 16);
        s.unoffset = _mm512_mullo_epi16(int16_pair(s.scale[0], s.scale[1]),
                                        _mm512_set1_epi16(-unsigned_offset(kFormat)));
    }
    if constexpr (kRecord == ScaleRecord::kHalfScaleMins) {
        const __m512i low = _mm512_set1_epi32(15);
        const std::byte* small = record + 64 + 32 * sub;
        const __m512i first = load_uint8(small);
        const __m512i second = load_uint8(small + 16);
        s.scale[0] = _mm512_and_si512(first, low);
        s.scale[1] = _mm512_and_si512(second, low);
        s.mins = int16_pair(_mm512_srli_epi32(first, 4), _mm512_srli_epi32(second, 4));
        s.dmin = load_halves(record + 32);
    }
    return s;
}

template <TensorType kType>
constexpr bool kHalves = tile_format(kType).scales == ScaleRecord::kHalfScales ||
                         tile_format(kType).scales == ScaleRecord::kHalfScaleMins;

/// Where a block's sum begins: what the offset adds is taken away beforehand.
template <TensorType kType>
POTLUCK_INLINE __m512i first_sum(const ActivationBlock& x) {
    constexpr int kOffset = unsigned_offset(tile_format(kType));
    if constexpr (kHalves<kType> || kOffset == 0)
        return _mm512_setzero_si512();
    else
        return _mm512_slli_epi32(_mm512_set1_epi32(x.minus_8_sums), std::countr_zero(kOffset / 8U));
}

/// From a block's sum to its contribution: docs/arithmetic.md, matrix products.
template <TensorType kType>
POTLUCK_INLINE __m512 add_sum(__m512i sum, const Scales& s, const ActivationBlock& x, __m512 acc) {
    constexpr ScaleRecord kRecord = tile_format(kType).scales;
    const __m512 da = _mm512_set1_ps(x.d);
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(s.d, da), acc);
    if constexpr (kRecord == ScaleRecord::kHalfPair || kRecord == ScaleRecord::kSubScaleMin)
        acc = _mm512_fmadd_ps(s.m, _mm512_set1_ps(x.s), acc);
    if constexpr (kRecord == ScaleRecord::kHalfScaleMins) {
        const __m512i mins = _mm512_dpwssd_epi32(_mm512_setzero_si512(), s.mins, broadcast4(x.sum));
        acc = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(mins), _mm512_mul_ps(s.dmin, da), acc);
    }
    return acc;
}

/// The block's contribution for one batch row.
template <TensorType kType>
POTLUCK_INLINE __m512 accumulate(const __m512i w[8], const Scales& s, const ActivationBlock& x,
                                 __m512 acc) {
    // Two chains hide the latency of vpdpbusd; they are also the two halves of 16.
    __m512i first = first_sum<kType>(x);
    __m512i second = _mm512_setzero_si512();
    POTLUCK_UNROLL
    for (int g = 0; g < 4; ++g) {
        first = _mm512_dpbusd_epi32(first, w[g], broadcast4(x.q + 4 * g));
        second = _mm512_dpbusd_epi32(second, w[g + 4], broadcast4(x.q + 16 + 4 * g));
    }
    if constexpr (kHalves<kType>) {
        first = _mm512_mullo_epi32(first, s.scale[0]);
        second = _mm512_mullo_epi32(second, s.scale[1]);
        if constexpr (unsigned_offset(tile_format(kType)) != 0)
            first = _mm512_dpwssd_epi32(first, s.unoffset, broadcast4(x.sum));
    }
    return add_sum<kType>(_mm512_add_epi32(first, second), s, x, acc);
}

/// The same for kActivationGroup batch rows side by side: where a row's contribution is one product
/// its chain hides behind the others, so that one sum is enough and its halves need not be added.
template <TensorType kType>
POTLUCK_INLINE void accumulate_group(const __m512i w[8], const Scales& s,
                                     const ActivationBlock* group, __m512* acc) {
    constexpr ScaleRecord kRecord = tile_format(kType).scales;
    if constexpr (kHalves<kType> || kRecord == ScaleRecord::kHalfPair ||
                  kRecord == ScaleRecord::kSubScaleMin) {
        POTLUCK_UNROLL
        for (std::size_t n = 0; n < kActivationGroup; ++n)
            acc[n] = accumulate<kType>(w, s, group[n], acc[n]);
    } else {
        __m512i sum[kActivationGroup];
        POTLUCK_UNROLL
        for (std::size_t n = 0; n < kActivationGroup; ++n)
            sum[n] = first_sum<kType>(group[n]);
        POTLUCK_UNROLL
        for (int g = 0; g < 8; ++g) {
            POTLUCK_UNROLL
            for (std::size_t n = 0; n < kActivationGroup; ++n)
                sum[n] = _mm512_dpbusd_epi32(sum[n], w[g], broadcast4(group[n].q + 4 * g));
        }
        POTLUCK_UNROLL
        for (std::size_t n = 0; n < kActivationGroup; ++n)
            acc[n] = add_sum<kType>(sum[n], s, group[n], acc[n]);
    }
}

/// The block's contributions for N batch rows, `group_stride` apart from group to group.
template <TensorType kType, std::size_t N>
POTLUCK_INLINE void accumulate_rows(const __m512i w[8], const Scales& s, const ActivationBlock* x,
                                    std::size_t group_stride, __m512* acc) {
    constexpr std::size_t kWhole = N / kActivationGroup * kActivationGroup;
    POTLUCK_UNROLL
    for (std::size_t n = 0; n < kWhole; n += kActivationGroup) {
        accumulate_group<kType>(w, s, x, acc + n);
        x += group_stride;
    }
    POTLUCK_UNROLL
    for (std::size_t n = kWhole; n < N; ++n)
        acc[n] = accumulate<kType>(w, s, x[n - kWhole], acc[n]);
}

/// The processor's own prefetching falls behind, so the next weights are asked for by hand. A core
/// that reads two places at once gets more out of the memory than one that reads one, and needs
/// less distance. Addresses beyond the weights do no harm.
template <std::size_t kTiles>
constexpr std::size_t kPrefetchDistance = kTiles == 1 ? 4096 : 2048;

template <std::size_t kBytes, _mm_hint kHint>
POTLUCK_INLINE void prefetch(const std::byte* p) {
    POTLUCK_UNROLL
    for (std::size_t line = 0; line < kBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(p + line), kHint);
}

/// Narrow kernels use a weight once; the widest finds it in the second-level cache again. What
/// comes by way of the second level must be asked for earlier.
template <std::size_t kBytes, std::size_t N, std::size_t kTiles>
POTLUCK_INLINE void prefetch_next(const std::byte* quants, bool past_l2) {
    constexpr std::size_t kDistance = kPrefetchDistance<kTiles>;
    if constexpr (N == kMaxTileColumns)
        prefetch<kBytes, _MM_HINT_T0>(quants + kDistance);
    else if (past_l2)
        prefetch<kBytes, _MM_HINT_NTA>(quants + kDistance);
    else
        prefetch<kBytes, _MM_HINT_T1>(quants + 2 * kDistance);
}

template <std::size_t N>
POTLUCK_INLINE void store(const TileCall& call, const __m512* acc) {
    const auto exist = static_cast<__mmask16>((1U << call.rows) - 1U);
    __m512 bias = _mm512_setzero_ps();
    if (call.bias != nullptr) bias = _mm512_maskz_loadu_ps(exist, call.bias);
    POTLUCK_UNROLL
    for (std::size_t n = 0; n < N; ++n) {
        const __m512 y = call.bias != nullptr ? _mm512_add_ps(acc[n], bias) : acc[n];
        _mm512_mask_storeu_ps(call.out + n * call.out_stride, exist, y);
    }
}

/// kTiles tiles of one matrix, block by block in turn, by the same N batch rows.
template <TensorType kType, std::size_t N, std::size_t kTiles>
void tile_kernel(const TileCall* calls) {
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr std::size_t kQuantBytes = kFormat.quant_bytes();
    constexpr std::size_t kScaleBytes = kFormat.scale_bytes();
    constexpr std::size_t kSubs = kFormat.subs();
    const bool past_l2 = prefetches_past_l2();
    const std::size_t blocks = calls[0].blocks;
    const std::size_t group_stride = kActivationGroup * blocks;
    const std::byte* quants[kTiles];
    const std::byte* records[kTiles];
    __m512 acc[kTiles][N];
    POTLUCK_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t) {
        quants[t] = calls[t].quants;
        records[t] = calls[t].scales;
        POTLUCK_UNROLL
        for (std::size_t n = 0; n < N; ++n)
            acc[t][n] = _mm512_setzero_ps();
    }
    const ActivationBlock* x = calls[0].x;
    for (std::size_t b = 0; b < blocks; b += kSubs) {
        for (std::size_t sub = 0; sub < kSubs; ++sub) {
            POTLUCK_UNROLL
            for (std::size_t t = 0; t < kTiles; ++t) {
                prefetch_next<kQuantBytes, N, kTiles>(quants[t], past_l2);
                __m512i w[8];
                decode<kType>(quants[t], w);
                const Scales scales = load_scales<kType>(records[t], sub);
                accumulate_rows<kType, N>(w, scales, x, group_stride, acc[t]);
                quants[t] += kQuantBytes;
            }
            x += kActivationGroup;
        }
        POTLUCK_UNROLL
        for (std::size_t t = 0; t < kTiles; ++t)
            records[t] += kScaleBytes;
    }
    POTLUCK_UNROLL
    for (std::size_t t = 0; t < kTiles; ++t)
        store<N>(calls[t], acc[t]);
}

template <TensorType kType, std::size_t... kColumns>
TileKernels kernels_of(std::index_sequence<kColumns...>) {
    TileKernels k;
    ((k.by_columns[kColumns + 1] = tile_kernel<kType, kColumns + 1, 1>), ...);
    k.pairs[1] = tile_kernel<kType, 1, 2>;
    k.pairs[2] = tile_kernel<kType, 2, 2>;
    k.by_columns[16] = tile_kernel<kType, 16, 1>;
    return k;
}

/// All widths up to 8, and 16; two tiles at once only where the memory is the limit.
template <TensorType kType>
TileKernels kernels_of() {
    return kernels_of<kType>(std::make_index_sequence<8>());
}

}  // namespace

TileKernels tile_kernels_avx512(TensorType type) {
    using enum TensorType;
    switch (type) {
        case kQ8_0:
            return kernels_of<kQ8_0>();
        case kQ4_0:
            return kernels_of<kQ4_0>();
        case kQ4_1:
            return kernels_of<kQ4_1>();
        case kQ5_0:
            return kernels_of<kQ5_0>();
        case kQ5_1:
            return kernels_of<kQ5_1>();
        case kIQ4_NL:
            return kernels_of<kIQ4_NL>();
        case kMXFP4:
            return kernels_of<kMXFP4>();
        case kQ2_K:
            return kernels_of<kQ2_K>();
        case kQ3_K:
            return kernels_of<kQ3_K>();
        case kQ4_K:
            return kernels_of<kQ4_K>();
        case kQ5_K:
            return kernels_of<kQ5_K>();
        case kQ6_K:
            return kernels_of<kQ6_K>();
        case kIQ4_XS:
            return kernels_of<kIQ4_XS>();
        default:
            return {};
    }
}

}  // namespace potluck::kernels::cpu
