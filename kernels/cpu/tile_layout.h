#pragma once

// The layout of quantised weights for the vector kernels: tiles of 16 rows, interleaved so that 64
// consecutive bytes are 16 rows by 4 consecutive elements. A vector lane is then one output, and
// nothing is ever added across lanes. Every kernel, the packer and the embedding go by this file.
//
// A type's quants are a set of planes, per tile and 32 elements (a tile block):
//   bytes    512 B  vector g (0..7), lane r, byte b: element 4g+b of row r, as stored
//   nibbles  256 B  vector g (0..3): low nibble element 4g+b, high nibble element 16+4g+b
//   pairs    128 B  vector v (0..1), bits 2f: element 8f+4v+b (group g of 4 is v = g%2, f = g/2)
//   bits      64 B  bit g of lane r, byte b: element 4g+b
// in this order. Its scales are one record per tile and file block (32 or 256 elements), of arrays
// over the 16 rows: d, dmin or m as f16 as the file has them, then small integer scales as bytes.
//
// One matrix: the quants of all tiles, then, 64-byte aligned, the scales of all tiles. Rows beyond
// the last are zeros.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/tensor_type.h"
#include "kernels/cpu/codebooks.h"

namespace potluck::kernels::cpu {

inline constexpr std::size_t kTileRows = 16;

inline constexpr std::uint32_t kByteVectors = 8;  ///< 64-byte vectors of each plane
inline constexpr std::uint32_t kNibbleVectors = 4;
inline constexpr std::uint32_t kPairVectors = 2;
inline constexpr std::uint32_t kBitVectors = 1;

/// The record of scales. Arrays of 16; "sub" are the blocks of 32 within the file's block.
enum class ScaleRecord : std::uint8_t {
    kHalf,           ///< d
    kHalfPair,       ///< d, m
    kExponent,       ///< e (bytes)
    kSubScale,       ///< d, then per sub: scale (int8)                 IQ4_XS
    kSubScaleMin,    ///< d, dmin, then per sub: scale, min (uint8)     Q4_K Q5_K
    kHalfScales,     ///< d, then per sub: scales of the halves (int8)  Q3_K Q6_K
    kHalfScaleMins,  ///< d, dmin, then per sub: scale | min << 4 of the halves (uint8)  Q2_K
};

struct TileFormat {
    std::uint32_t block_elements = 32;
    bool bytes = false;
    bool nibbles = false;
    bool pairs = false;
    bool bits = false;
    ScaleRecord scales = ScaleRecord::kHalf;
    Codebook codebook = Codebook::kNone;  ///< nibbles are indices into it
    int offset = 0;                       ///< else the weight is the stored number less this

    constexpr std::size_t subs() const { return block_elements / 32; }
    /// Bytes of the quants of one tile block.
    constexpr std::size_t quant_bytes() const {
        return 64 * ((bytes ? kByteVectors : 0) + (nibbles ? kNibbleVectors : 0) +
                     (pairs ? kPairVectors : 0) + (bits ? kBitVectors : 0));
    }
    /// Bytes of one record of scales.
    constexpr std::size_t scale_bytes() const {
        switch (scales) {
            case ScaleRecord::kHalf:
                return 32;
            case ScaleRecord::kHalfPair:
                return 64;
            case ScaleRecord::kExponent:
                return 16;
            case ScaleRecord::kSubScale:
                return 32 + subs() * 16;
            case ScaleRecord::kSubScaleMin:
                return 64 + subs() * 32;
            case ScaleRecord::kHalfScales:
                return 32 + subs() * 32;
            case ScaleRecord::kHalfScaleMins:
                return 64 + subs() * 32;
        }
        return 0;
    }
};

inline constexpr TileFormat tile_format(TensorType type) {
    using enum TensorType;
    switch (type) {
        case kQ8_0:
            return {.bytes = true};
        case kQ4_0:
            return {.nibbles = true, .offset = 8};
        case kQ4_1:
            return {.nibbles = true, .scales = ScaleRecord::kHalfPair};
        case kQ5_0:
            return {.nibbles = true, .bits = true, .offset = 16};
        case kQ5_1:
            return {.nibbles = true, .bits = true, .scales = ScaleRecord::kHalfPair};
        case kIQ4_NL:
            return {.nibbles = true, .codebook = Codebook::kIq4};
        case kMXFP4:
            return {
                .nibbles = true, .scales = ScaleRecord::kExponent, .codebook = Codebook::kMxfp4};
        case kIQ4_XS:
            return {.block_elements = 256,
                    .nibbles = true,
                    .scales = ScaleRecord::kSubScale,
                    .codebook = Codebook::kIq4};
        case kQ4_K:
            return {.block_elements = 256, .nibbles = true, .scales = ScaleRecord::kSubScaleMin};
        case kQ5_K:
            return {.block_elements = 256,
                    .nibbles = true,
                    .bits = true,
                    .scales = ScaleRecord::kSubScaleMin};
        case kQ6_K:
            return {.block_elements = 256,
                    .nibbles = true,
                    .pairs = true,
                    .scales = ScaleRecord::kHalfScales,
                    .offset = 32};
        case kQ3_K:
            return {.block_elements = 256,
                    .pairs = true,
                    .bits = true,
                    .scales = ScaleRecord::kHalfScales,
                    .offset = 4};
        case kQ2_K:
            return {.block_elements = 256, .pairs = true, .scales = ScaleRecord::kHalfScaleMins};
        default:
            POTLUCK_CHECK(false && "a quantised weight type without a tile format");
    }
    return {};
}

/// Sizes of one packed matrix, in bytes unless stated.
struct TileLayout {
    TileLayout(TensorType type, std::size_t columns, std::size_t rows);

    TileFormat format;
    std::size_t tiles;        ///< number of tiles
    std::size_t blocks;       ///< blocks of 32 per row
    std::size_t tile_quants;  ///< quants of one tile
    std::size_t tile_scales;  ///< scales of one tile
    std::size_t scales_at;    ///< where the scales of the matrix begin
    std::size_t total;
};

}  // namespace potluck::kernels::cpu
