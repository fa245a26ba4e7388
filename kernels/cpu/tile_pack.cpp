#include "kernels/cpu/tile_pack.h"

#include <bit>
#include <cstring>

#include "base/portable_math.h"
#include "kernels/cpu/gguf_blocks.h"

namespace potluck::kernels::cpu {
namespace {

static_assert(std::endian::native == std::endian::little, "words are gathered as bytes in order");

/// Where a type's GGUF block keeps its fields, in bytes; `high` are the bits above `quants`.
struct Fields {
    std::size_t d = 0;
    std::size_t dmin = 0;  ///< or m
    std::size_t scales = 0;
    std::size_t high = 0;
    std::size_t quants = 0;
};

constexpr Fields fields(TensorType type) {
    using enum TensorType;
    switch (type) {
        case kQ4_1:
            return {.dmin = 2, .quants = 4};
        case kQ5_0:
            return {.high = 2, .quants = 6};
        case kQ5_1:
            return {.dmin = 2, .high = 4, .quants = 8};
        case kMXFP4:
            return {.quants = 1};
        case kQ2_K:
            return {.d = 80, .dmin = 82, .scales = 0, .quants = 16};
        case kQ3_K:
            return {.d = 108, .scales = 96, .high = 0, .quants = 32};
        case kQ4_K:
            return {.dmin = 2, .scales = 4, .quants = 16};
        case kQ5_K:
            return {.dmin = 2, .scales = 4, .high = 16, .quants = 48};
        case kQ6_K:
            return {.d = 208, .scales = 192, .high = 128, .quants = 0};
        case kIQ4_XS:
            return {.quants = 8};
        default:  // Q8_0 Q4_0 IQ4_NL
            return {.quants = 2};
    }
}

std::uint32_t word32(const std::byte* p) {
    std::uint32_t word = 0;
    std::memcpy(&word, p, sizeof word);
    return word;
}

std::uint64_t word64(const std::byte* p) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, sizeof word);
    return word;
}

/// `n` words of 4 bytes to the same lane of `n` vectors.
template <std::size_t n>
void put_lane(std::byte* lane, const void* words) {
    for (std::size_t g = 0; g < n; ++g)
        std::memcpy(lane + 64 * g, static_cast<const std::byte*>(words) + 4 * g, 4);
}

/// The nibbles of one block of 32 out of 32 bytes that two blocks share.
void gather_nibbles(const std::byte* shared, bool high, std::uint64_t out[2]) {
    constexpr std::uint64_t kLow = 0x0F0F0F0F0F0F0F0FU;
    for (std::size_t k = 0; k < 2; ++k) {
        const std::uint64_t first = word64(shared + 8 * k);
        const std::uint64_t second = word64(shared + 16 + 8 * k);
        out[k] = high ? ((first >> 4) & kLow) | (second & ~kLow)
                      : (first & kLow) | ((second & kLow) << 4);
    }
}

/// Two bits of each of 32 bytes, from bit `shift` on: field f of byte k is element 8f + k.
std::uint64_t gather_pairs(const std::byte* shared, std::size_t shift) {
    std::uint64_t pairs = 0;
    for (std::size_t f = 0; f < 4; ++f)
        pairs |= ((word64(shared + 8 * f) >> shift) & 0x0303030303030303U) << (2 * f);
    return pairs;
}

/// Bit `bit` of each of 32 bytes: bit g of byte b is element 4g + b.
std::uint32_t gather_bits(const std::byte* shared, std::size_t bit) {
    std::uint32_t bits = 0;
    for (std::size_t g = 0; g < 8; ++g)
        bits |= ((word32(shared + 4 * g) >> bit) & 0x01010101U) << g;
    return bits;
}

/// The same from a mask whose bit i is element i. The product spreads 4 bits over 4 bytes.
std::uint32_t spread_bits(std::uint32_t mask) {
    std::uint32_t bits = 0;
    for (std::size_t g = 0; g < 8; ++g)
        bits |= ((((mask >> (4 * g)) & 15U) * 0x00204081U) & 0x01010101U) << g;
    return bits;
}

template <TensorType kType>
std::uint32_t row_bits(const std::byte* block, std::size_t sub) {
    constexpr Fields at = fields(kType);
    if constexpr (tile_format(kType).block_elements == 32)
        return spread_bits(word32(block + at.high));
    else
        return gather_bits(block + at.high, sub);
}

template <TensorType kType>
void row_nibbles(const std::byte* block, std::size_t sub, std::uint64_t out[2]) {
    const std::byte* quants = block + fields(kType).quants;
    if constexpr (kType == TensorType::kQ4_K || kType == TensorType::kQ5_K)
        gather_nibbles(quants + 32 * (sub / 2), sub % 2 == 1, out);
    else if constexpr (kType == TensorType::kQ6_K)
        gather_nibbles(quants + 64 * (sub / 4) + 32 * (sub % 2), sub % 4 >= 2, out);
    else
        std::memcpy(out, quants + 16 * sub, 16);
}

/// One row's block of 32 into its lanes of a tile block.
template <TensorType kType>
void pack_quants(const std::byte* block, std::size_t sub, std::byte* lane) {
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr Fields kAt = fields(kType);
    if constexpr (kFormat.bytes) put_lane<kByteVectors>(lane, block + kAt.quants);
    if constexpr (kFormat.nibbles) {
        std::uint64_t nibbles[2];
        row_nibbles<kType>(block, sub, nibbles);
        put_lane<kNibbleVectors>(lane, nibbles);
        lane += 64 * kNibbleVectors;
    }
    if constexpr (kFormat.pairs) {
        const std::byte* shared = block + (kFormat.nibbles ? kAt.high : kAt.quants);
        const std::uint64_t pairs = gather_pairs(shared + 32 * (sub / 4), 2 * (sub % 4));
        put_lane<kPairVectors>(lane, &pairs);
        lane += 64 * kPairVectors;
    }
    if constexpr (kFormat.bits) {
        const std::uint32_t bits = row_bits<kType>(block, sub);
        put_lane<kBitVectors>(lane, &bits);
    }
}

std::byte as_byte(int value) {
    return static_cast<std::byte>(value);
}

/// One row's scales into its places of a record; r is the row within the tile.
template <TensorType kType>
void pack_scales(const std::byte* block, std::size_t r, std::byte* record) {
    constexpr TileFormat kFormat = tile_format(kType);
    constexpr Fields kAt = fields(kType);
    if constexpr (kFormat.scales == ScaleRecord::kExponent) {
        record[r] = block[0];
        return;
    }
    std::memcpy(record + 2 * r, block + kAt.d, 2);
    std::byte* small = record + 32 + r;
    if constexpr (kAt.dmin != 0) {
        std::memcpy(record + 32 + 2 * r, block + kAt.dmin, 2);
        small += 32;
    }
    for (std::size_t sub = 0; sub < kFormat.subs(); ++sub) {
        if constexpr (kFormat.scales == ScaleRecord::kSubScale) {
            small[16 * sub] = as_byte(iq4_xs_scale(block, sub));
        } else if constexpr (kFormat.scales == ScaleRecord::kSubScaleMin) {
            const K4Scale k = k4_scale(block + kAt.scales, sub);
            small[32 * sub] = as_byte(k.scale);
            small[32 * sub + 16] = as_byte(k.min);
        } else if constexpr (kType == TensorType::kQ3_K) {
            small[32 * sub] = as_byte(q3_k_scale(block + kAt.scales, 2 * sub));
            small[32 * sub + 16] = as_byte(q3_k_scale(block + kAt.scales, 2 * sub + 1));
        } else if constexpr (kType == TensorType::kQ6_K || kType == TensorType::kQ2_K) {
            small[32 * sub] = block[kAt.scales + 2 * sub];
            small[32 * sub + 16] = block[kAt.scales + 2 * sub + 1];
        }
    }
}

template <TensorType kType>
void pack_tile_of(const TileLayout& layout, const std::byte* source, std::size_t row_bytes,
                  std::size_t rows, std::byte* quants, std::byte* scales) {
    constexpr TileFormat kFormat = tile_format(kType);
    const std::size_t block_bytes = row_bytes * kFormat.subs() / layout.blocks;
    const std::size_t file_blocks = layout.blocks / kFormat.subs();
    for (std::size_t b = 0; b < file_blocks; ++b) {
        for (std::size_t r = 0; r < rows; ++r) {
            const std::byte* block = source + r * row_bytes + b * block_bytes;
            for (std::size_t sub = 0; sub < kFormat.subs(); ++sub)
                pack_quants<kType>(block, sub, quants + sub * kFormat.quant_bytes() + 4 * r);
            pack_scales<kType>(block, r, scales);
        }
        quants += kFormat.subs() * kFormat.quant_bytes();
        scales += kFormat.scale_bytes();
    }
}

int stored_number(const TileFormat& f, const std::byte* quants, std::size_t r, std::size_t l) {
    const auto at = [&](std::size_t vector) {
        return std::to_integer<int>(quants[64 * vector + 4 * r + l % 4]);
    };
    if (f.bytes) return static_cast<std::int8_t>(at(l / 4));
    int n = 0;
    int width = 0;  // bits of n so far
    if (f.nibbles) {
        n = l < 16 ? at(l / 4) & 15 : at(l / 4 - 4) >> 4;
        quants += 64 * kNibbleVectors;
        width = 4;
    }
    if (f.pairs) {
        n |= ((at(l % 8 / 4) >> (2 * (l / 8))) & 3) << width;
        quants += 64 * kPairVectors;
        width += 2;
    }
    if (f.bits) n |= ((at(0) >> (l / 4)) & 1) << width;
    return n;
}

float half_of(const std::byte* halves, std::size_t r) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, halves + 2 * r, 2);
    return half_to_float(bits);
}

void unpack_scales(const TileFormat& f, const std::byte* record, std::size_t r, std::size_t sub,
                   Block32& out) {
    if (f.scales == ScaleRecord::kExponent) {
        out.d = mxfp4_scale(std::to_integer<std::uint8_t>(record[r]));
        return;
    }
    out.d = half_of(record, r);
    const auto small = [&](std::size_t at) { return static_cast<std::int8_t>(record[at + r]); };
    switch (f.scales) {
        case ScaleRecord::kHalf:
        case ScaleRecord::kExponent:
            break;
        case ScaleRecord::kHalfPair:
            out.m = half_of(record + 32, r);
            break;
        case ScaleRecord::kSubScale:
            out.d *= small(32 + 16 * sub);
            break;
        case ScaleRecord::kSubScaleMin:
            out.d *= small(64 + 32 * sub);
            out.m = -(half_of(record + 32, r) * static_cast<float>(small(80 + 32 * sub)));
            break;
        case ScaleRecord::kHalfScales:
            for (std::size_t half = 0; half < 2; ++half)
                out.scale[half] = small(32 + 32 * sub + 16 * half);
            break;
        case ScaleRecord::kHalfScaleMins:
            out.dmin = half_of(record + 32, r);
            for (std::size_t half = 0; half < 2; ++half) {
                const int both = small(64 + 32 * sub + 16 * half) & 255;
                out.scale[half] = both & 15;
                out.min[half] = both >> 4;
            }
            break;
    }
}

}  // namespace

void pack_tile(TensorType type, const TileLayout& layout, const std::byte* source,
               std::size_t row_bytes, std::size_t rows, std::size_t tile, std::byte* packed) {
    std::byte* quants = packed + tile * layout.tile_quants;
    std::byte* scales = packed + layout.scales_at + tile * layout.tile_scales;
    if (rows < kTileRows) {
        std::memset(quants, 0, layout.tile_quants);
        std::memset(scales, 0, layout.tile_scales);
    }
    const auto pack = [&]<TensorType kType>() {
        pack_tile_of<kType>(layout, source, row_bytes, rows, quants, scales);
    };
    using enum TensorType;
    switch (type) {
        case kQ8_0:
            return pack.operator()<kQ8_0>();
        case kQ4_0:
            return pack.operator()<kQ4_0>();
        case kQ4_1:
            return pack.operator()<kQ4_1>();
        case kQ5_0:
            return pack.operator()<kQ5_0>();
        case kQ5_1:
            return pack.operator()<kQ5_1>();
        case kIQ4_NL:
            return pack.operator()<kIQ4_NL>();
        case kMXFP4:
            return pack.operator()<kMXFP4>();
        case kQ2_K:
            return pack.operator()<kQ2_K>();
        case kQ3_K:
            return pack.operator()<kQ3_K>();
        case kQ4_K:
            return pack.operator()<kQ4_K>();
        case kQ5_K:
            return pack.operator()<kQ5_K>();
        case kQ6_K:
            return pack.operator()<kQ6_K>();
        case kIQ4_XS:
            return pack.operator()<kIQ4_XS>();
        default:
            POTLUCK_CHECK(false && "a quantised weight type without a packer");
    }
}

void unpack_block(const TileLayout& layout, const std::byte* packed, std::size_t row,
                  std::size_t block, Block32& out) {
    const TileFormat& f = layout.format;
    const std::size_t tile = row / kTileRows;
    const std::size_t r = row % kTileRows;
    const std::byte* quants = packed + tile * layout.tile_quants + block * f.quant_bytes();
    const std::byte* record =
        packed + layout.scales_at + tile * layout.tile_scales + block / f.subs() * f.scale_bytes();
    unpack_scales(f, record, r, block % f.subs(), out);
    for (std::size_t l = 0; l < 32; ++l) {
        const int n = stored_number(f, quants, r, l);
        out.w[l] = static_cast<std::int16_t>(
            f.codebook != Codebook::kNone ? codebook_value(f.codebook, n) : n - f.offset);
    }
}

}  // namespace potluck::kernels::cpu
