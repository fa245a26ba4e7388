// Quantised matrix products with AVX2, on the same tiles as AVX-512: each 64-byte vector of a tile
// is two 32-byte halves of 8 rows. There is no byte product that adds into 32 bits here; vpmaddubsw
// adds pairs of products of unsigned and signed bytes into int16, with saturation, so every type
// says how large its weights can be and sums are widened before they could reach 2^15: all sums are
// exact.
//
// Everything here is in an anonymous namespace: code that was compiled for this instruction set
// must not be merged with the same code of other files.

#include <immintrin.h>

#include <cstring>

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

/// Bytes and tables are multiplied as signed numbers: |w| times q with the sign of w. Others are
/// the stored unsigned numbers, and their offset is taken off with the activation's sums.
constexpr bool is_signed(const TileFormat& f) {
    return f.bytes || f.codebook != Codebook::kNone;
}

constexpr int largest_magnitude(const TileFormat& f) {
    if (f.bytes) return 128;
    if (f.codebook == Codebook::kNone)
        return (1 << ((f.nibbles ? 4 : 0) + (f.pairs ? 2 : 0) + (f.bits ? 1 : 0))) - 1;
    int largest = 0;
    POTLUCK_UNROLL
    for (int i = 0; i < 16; ++i) {
        const int value = codebook_value(f.codebook, i);
        const int magnitude = value < 0 ? -value : value;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/// How many results of vpmaddubsw add up in int16: |q| <= 127, two products in each.
constexpr int int16_sums(const TileFormat& f) {
    const int sums = 32767 / (2 * 127 * largest_magnitude(f));
    return sums >= 8 ? 8 : sums >= 4 ? 4 : sums >= 2 ? 2 : 1;
}

POTLUCK_INLINE __m256i load32(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

POTLUCK_INLINE __m256 load_halves(const std::byte* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

POTLUCK_INLINE __m256i load_uint8(const std::byte* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

POTLUCK_INLINE __m256i load_int8(const std::byte* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

/// Four bytes in every lane.
POTLUCK_INLINE __m256i broadcast4(const void* p) {
    int word = 0;
    std::memcpy(&word, p, 4);
    return _mm256_set1_epi32(word);
}

/// Shifts that keep the bits of each byte that the caller masks; positive is left.
template <int kLeft>
POTLUCK_INLINE __m256i shift(__m256i v) {
    if constexpr (kLeft > 0)
        return _mm256_slli_epi16(v, kLeft);
    else if constexpr (kLeft < 0)
        return _mm256_srli_epi16(v, -kLeft);
    else
        return v;
}

/// a | (b & mask)
POTLUCK_INLINE __m256i merge(__m256i a, __m256i b, int mask) {
    return _mm256_or_si256(a, _mm256_and_si256(b, _mm256_set1_epi8(static_cast<char>(mask))));
}

/// Groups kGroup … 7 of a plane of pairs: 2 bits of group g to bit `kTo` of the weights.
template <int kTo, int kGroup = 0>
POTLUCK_INLINE void merge_pairs(const __m256i plane[2], __m256i w[8]) {
    if constexpr (kGroup < 8) {
        const __m256i bits = shift<kTo - kGroup / 2 * 2>(plane[kGroup % 2]);
        w[kGroup] = merge(w[kGroup], bits, 3 << kTo);
        merge_pairs<kTo, kGroup + 1>(plane, w);
    }
}

template <int kTo, int kGroup = 0>
POTLUCK_INLINE void merge_bits(__m256i plane, __m256i w[8]) {
    if constexpr (kGroup < 8) {
        w[kGroup] = merge(w[kGroup], shift<kTo - kGroup>(plane), 1 << kTo);
        merge_bits<kTo, kGroup + 1>(plane, w);
    }
}

/// The 32 elements of 8 rows of a tile block as bytes, signed or unsigned as is_signed() says: w[g]
/// holds elements 4g … 4g+3. `quants` points at the wanted half of the first vector.
template <TensorType kType>
POTLUCK_INLINE void decode(const std::byte* quants, __m256i w[8]) {
    constexpr TileFormat kFormat = tile_format(kType);
    if constexpr (kFormat.bytes) {
        POTLUCK_UNROLL
        for (int g = 0; g < 8; ++g)
            w[g] = load32(quants + 64 * g);
        return;
    }
    constexpr int kPairsAt = kFormat.nibbles ? 4 : 0;
    constexpr int kBitsAt = kPairsAt + (kFormat.pairs ? 2 : 0);
    POTLUCK_UNROLL
    for (int g = 0; g < 8; ++g)
        w[g] = _mm256_setzero_si256();
    if constexpr (kFormat.nibbles) {
        const __m256i low = _mm256_set1_epi8(15);
        POTLUCK_UNROLL
        for (int g = 0; g < 4; ++g) {
            const __m256i both = load32(quants + 64 * g);
            w[g] = _mm256_and_si256(both, low);
            w[g + 4] = _mm256_and_si256(shift<-4>(both), low);
        }
        quants += 64 * kNibbleVectors;
    }
    if constexpr (kFormat.codebook != Codebook::kNone) {
        constexpr const std::int8_t* values =
            kFormat.codebook == Codebook::kIq4 ? kIq4Values : kMxfp4Values;
        const __m256i table =
            _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)));
        POTLUCK_UNROLL
        for (int g = 0; g < 8; ++g)
            w[g] = _mm256_shuffle_epi8(table, w[g]);
    }
    if constexpr (kFormat.pairs) {
        const __m256i planes[2] = {load32(quants), load32(quants + 64)};
        merge_pairs<kPairsAt>(planes, w);
        quants += 64 * kPairVectors;
    }
    if constexpr (kFormat.bits) merge_bits<kBitsAt>(load32(quants), w);
}

/// The scales of 8 rows of a tile block; which fields are set depends on the record.
struct Scales {
    __m256 d;
    __m256 m;          ///< m, or -(dmin * min)
    __m256i scale[2];  ///< of the halves: int16, each twice
    __m256i unoffset;  ///< pairs of int16 to multiply with the sums of the halves
    __m256 dmin;
    __m256i mins;  ///< pairs of int16
};

POTLUCK_INLINE __m256i int16_pair(__m256i low, __m256i high) {
    return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xAA);
}

POTLUCK_INLINE __m256 load_exponents(const std::byte* p) {
    const __m256i e = load_uint8(p);
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    const __m256i is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, is_tiny));
}

/// `half` (0, 1) chooses rows 0..7 or 8..15 of the tile.
template <TensorType kType>
POTLUCK_INLINE Scales load_scales(const std::byte* record, std::size_t sub, std::size_t half) {
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr ScaleRecord kRecord = kFormat.scales;
    Scales s;
    if constexpr (kRecord == ScaleRecord::kExponent) {
        s.d = load_exponents(record + 8 * half);
    } else {
        s.d = load_halves(record + 16 * half);
    }
    s.unoffset = _mm256_set1_epi16(-kFormat.offset);
    if constexpr (kRecord == ScaleRecord::kHalfPair) s.m = load_halves(record + 32 + 16 * half);
    if constexpr (kRecord == ScaleRecord::kSubScale) {
        const __m256i scale = load_int8(record + 32 + 16 * sub + 8 * half);
        s.d = _mm256_mul_ps(s.d, _mm256_cvtepi32_ps(scale));
    }
    if constexpr (kRecord == ScaleRecord::kSubScaleMin) {
        const std::byte* small = record + 64 + 32 * sub + 8 * half;
        s.d = _mm256_mul_ps(s.d, _mm256_cvtepi32_ps(load_uint8(small)));
        const __m256 product = _mm256_mul_ps(load_halves(record + 32 + 16 * half),
                                             _mm256_cvtepi32_ps(load_uint8(small + 16)));
        s.m = _mm256_xor_ps(product, _mm256_set1_ps(-0.0F));
    }
    if constexpr (kRecord == ScaleRecord::kHalfScales) {
        const std::byte* small = record + 32 + 32 * sub + 8 * half;
        const __m256i first = load_int8(small);
        const __m256i second = load_int8(small + 16);
        s.scale[0] = int16_pair(first, first);
        s.scale[1] = int16_pair(second, second);
        s.unoffset = _mm256_mullo_epi16(int16_pair(first, second), s.unoffset);
    }
    if constexpr (kRecord == ScaleRecord::kHalfScaleMins) {
        const __m256i low = _mm256_set1_epi32(15);
        const std::byte* small = record + 64 + 32 * sub + 8 * half;
        const __m256i first = load_uint8(small);
        const __m256i second = load_uint8(small + 16);
        s.scale[0] = int16_pair(_mm256_and_si256(first, low), _mm256_and_si256(first, low));
        s.scale[1] = int16_pair(_mm256_and_si256(second, low), _mm256_and_si256(second, low));
        s.mins = int16_pair(_mm256_srli_epi32(first, 4), _mm256_srli_epi32(second, 4));
        s.dmin = load_halves(record + 32 + 16 * half);
    }
    return s;
}

template <TensorType kType>
constexpr bool kHalves = tile_format(kType).scales == ScaleRecord::kHalfScales ||
                         tile_format(kType).scales == ScaleRecord::kHalfScaleMins;

/// Sum of the products of 4 kVectors elements with q, per lane, times `scale` (pairs of int16).
/// Exact.
template <TensorType kType, int kVectors>
POTLUCK_INLINE __m256i dot(const __m256i* w, const std::int8_t* q, __m256i scale) {
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr int kSums = int16_sums(kFormat) < kVectors ? int16_sums(kFormat) : kVectors;
    __m256i sum = _mm256_setzero_si256();
    POTLUCK_UNROLL
    for (int g = 0; g < kVectors; g += kSums) {
        __m256i narrow = _mm256_setzero_si256();
        POTLUCK_UNROLL
        for (int i = g; i < g + kSums; ++i) {
            const __m256i four = broadcast4(q + 4 * i);
            __m256i products;
            if constexpr (is_signed(kFormat))
                products =
                    _mm256_maddubs_epi16(_mm256_abs_epi8(w[i]), _mm256_sign_epi8(four, w[i]));
            else
                products = _mm256_maddubs_epi16(w[i], four);
            narrow = i == g ? products : _mm256_add_epi16(narrow, products);
            // One after the other: GCC else loads all of q first and puts the weights on the stack.
            asm("" : "+x"(narrow));
        }
        const __m256i wide = _mm256_madd_epi16(narrow, scale);
        sum = g == 0 ? wide : _mm256_add_epi32(sum, wide);
    }
    return sum;
}

/// The block's integer sum for one batch row, the offset taken off.
template <TensorType kType>
POTLUCK_INLINE __m256i block_sum(const __m256i w[8], const Scales& s, const ActivationBlock& x) {
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr int kOffset = is_signed(kFormat) ? 0 : kFormat.offset;
    if constexpr (!kHalves<kType>) {
        const __m256i sum = dot<kType, 8>(w, x.q, _mm256_set1_epi16(1));
        if constexpr (kOffset == 0) return sum;
        return _mm256_add_epi32(
            sum, _mm256_slli_epi32(_mm256_set1_epi32(x.minus_8_sums), kOffset == 16 ? 1 : 0));
    }
    const __m256i first = dot<kType, 4>(w, x.q, s.scale[0]);
    const __m256i second = dot<kType, 4>(w + 4, x.q + 16, s.scale[1]);
    const __m256i sum = _mm256_add_epi32(first, second);
    if constexpr (kOffset == 0) return sum;
    return _mm256_add_epi32(sum, _mm256_madd_epi16(s.unoffset, broadcast4(x.sum)));
}

/// From a block's sum to its contribution: docs/arithmetic.md, matrix products.
template <TensorType kType>
POTLUCK_INLINE __m256 add_sum(__m256i sum, const Scales& s, const ActivationBlock& x, __m256 acc) {
    constexpr ScaleRecord kRecord = tile_format(kType).scales;
    const __m256 da = _mm256_set1_ps(x.d);
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(s.d, da), acc);
    if constexpr (kRecord == ScaleRecord::kHalfPair || kRecord == ScaleRecord::kSubScaleMin)
        acc = _mm256_fmadd_ps(s.m, _mm256_set1_ps(x.s), acc);
    if constexpr (kRecord == ScaleRecord::kHalfScaleMins) {
        const __m256i offset = _mm256_madd_epi16(s.mins, broadcast4(x.sum));
        acc = _mm256_fnmadd_ps(_mm256_cvtepi32_ps(offset), _mm256_mul_ps(s.dmin, da), acc);
    }
    return acc;
}

POTLUCK_INLINE void store(const TileCall& call, std::size_t n, std::size_t half, __m256 y) {
    const int rest = static_cast<int>(call.rows) - static_cast<int>(8 * half);
    if (rest <= 0) return;
    float* const out = call.out + n * call.out_stride + 8 * half;
    if (rest >= 8) {  // masked stores take many times as long on some processors
        if (call.bias != nullptr) y = _mm256_add_ps(y, _mm256_loadu_ps(call.bias + 8 * half));
        return _mm256_storeu_ps(out, y);
    }
    const __m256i exist =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(rest), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    if (call.bias != nullptr) y = _mm256_add_ps(y, _mm256_maskload_ps(call.bias + 8 * half, exist));
    _mm256_maskstore_ps(out, exist, y);
}

template <TensorType kType, std::size_t N>
void tile_kernel(const TileCall* one) {
    const TileCall& call = *one;
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr std::size_t kQuantBytes = kFormat.quant_bytes();
    constexpr std::size_t kScaleBytes = kFormat.scale_bytes();
    constexpr std::size_t kSubs = kFormat.subs();
    const std::byte* quants = call.quants;
    const std::byte* record = call.scales;
    const ActivationBlock* x = call.x;
    __m256 acc[2][N];
    POTLUCK_UNROLL
    for (std::size_t n = 0; n < N; ++n)
        acc[0][n] = acc[1][n] = _mm256_setzero_ps();
    for (std::size_t b = 0; b < call.blocks; b += kSubs) {
        for (std::size_t sub = 0; sub < kSubs; ++sub) {
            POTLUCK_UNROLL
            for (std::size_t half = 0; half < 2; ++half) {
                __m256i w[8];
                decode<kType>(quants + 32 * half, w);
                const Scales scales = load_scales<kType>(record, sub, half);
                POTLUCK_UNROLL
                for (std::size_t n = 0; n < N; ++n)
                    acc[half][n] = add_sum<kType>(block_sum<kType>(w, scales, x[n]), scales, x[n],
                                                  acc[half][n]);
            }
            quants += kQuantBytes;
            x += kActivationGroup;
        }
        record += kScaleBytes;
    }
    POTLUCK_UNROLL
    for (std::size_t n = 0; n < N; ++n)
        POTLUCK_UNROLL
    for (std::size_t half = 0; half < 2; ++half)
        store(call, n, half, acc[half][n]);
}

/// Signed weights need their magnitudes beside them: half of the elements at a time, so that both
/// fit the registers.
template <TensorType kType>
constexpr bool kTwoPasses = is_signed(tile_format(kType)) && !kHalves<kType>;

/// Half a tile block (8 weight rows) by N batch rows.
template <TensorType kType, std::size_t N>
POTLUCK_INLINE void accumulate_rows(const __m256i w[8], const Scales& s, const ActivationBlock* x,
                                    std::size_t group_stride, __m256* acc) {
    if constexpr (kTwoPasses<kType>) {
        const __m256i ones = _mm256_set1_epi16(1);
        __m256i first[N];
        const ActivationBlock* group = x;
        for (std::size_t n = 0; n < N; n += kActivationGroup, group += group_stride)
            POTLUCK_UNROLL
        for (std::size_t i = 0; i < kActivationGroup; ++i)
            first[n + i] = dot<kType, 4>(w, group[i].q, ones);
        group = x;
        for (std::size_t n = 0; n < N; n += kActivationGroup, group += group_stride)
            POTLUCK_UNROLL
        for (std::size_t i = 0; i < kActivationGroup; ++i) {
            const __m256i second = dot<kType, 4>(w + 4, group[i].q + 16, ones);
            acc[n + i] =
                add_sum<kType>(_mm256_add_epi32(first[n + i], second), s, group[i], acc[n + i]);
        }
    } else {
        for (std::size_t n = 0; n < N; n += kActivationGroup, x += group_stride)
            POTLUCK_UNROLL
        for (std::size_t i = 0; i < kActivationGroup; ++i)
            acc[n + i] = add_sum<kType>(block_sum<kType>(w, s, x[i]), s, x[i], acc[n + i]);
    }
}

/// Between its rows a wide tile's stream of weights stands still, and the processor's own
/// prefetching with it, so the next weights are asked for by hand.
/// Addresses beyond the weights do no harm.
template <std::size_t kBytes>
POTLUCK_INLINE void prefetch(const std::byte* p) {
    constexpr std::size_t kDistance = 4096;
    POTLUCK_UNROLL
    for (std::size_t line = 0; line < kBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(p + kDistance + line), _MM_HINT_T0);
}

/// Many batch rows: the weights stay in registers and the sums in the first-level cache, because
/// what is decoded is worth more rows than there are registers for.
template <TensorType kType, std::size_t N>
void wide_kernel(const TileCall* one) {
    static_assert(N % kActivationGroup == 0);
    const TileCall& call = *one;
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr std::size_t kQuantBytes = kFormat.quant_bytes();
    constexpr std::size_t kScaleBytes = kFormat.scale_bytes();
    constexpr std::size_t kSubs = kFormat.subs();
    const std::size_t group_stride = kActivationGroup * call.blocks;
    const std::byte* quants = call.quants;
    const std::byte* record = call.scales;
    const ActivationBlock* x = call.x;
    __m256 acc[2][N];
    for (auto& half : acc)
        for (auto& sum : half)
            sum = _mm256_setzero_ps();
    for (std::size_t b = 0; b < call.blocks; b += kSubs) {
        for (std::size_t sub = 0; sub < kSubs; ++sub) {
            prefetch<kQuantBytes>(quants);
            for (std::size_t half = 0; half < 2; ++half) {
                __m256i w[8];
                decode<kType>(quants + 32 * half, w);
                const Scales scales = load_scales<kType>(record, sub, half);
                accumulate_rows<kType, N>(w, scales, x, group_stride, acc[half]);
            }
            quants += kQuantBytes;
            x += kActivationGroup;
        }
        record += kScaleBytes;
    }
    for (std::size_t n = 0; n < N; ++n)
        for (std::size_t half = 0; half < 2; ++half)
            store(call, n, half, acc[half][n]);
}

template <TensorType kType>
TileKernels kernels_of() {
    static_assert(kActivationGroup >= 4, "the batch rows of one call are one group");
    TileKernels k;
    k.by_columns[1] = tile_kernel<kType, 1>;
    k.by_columns[2] = tile_kernel<kType, 2>;
    k.by_columns[3] = tile_kernel<kType, 3>;
    // In two passes (accumulate_rows) eight rows gain nothing over twice four.
    if constexpr (kTwoPasses<kType>) {
        k.by_columns[4] = tile_kernel<kType, 4>;
    } else {
        k.by_columns[4] = wide_kernel<kType, 4>;
        k.by_columns[8] = wide_kernel<kType, 8>;
    }
    k.by_columns[16] = wide_kernel<kType, 16>;
    return k;
}

}  // namespace

TileKernels tile_kernels_avx2(TensorType type) {
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
