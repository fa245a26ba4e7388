// GGUF blocks, read field by field as the format defines them. Notation of the format: `qs` nibbles
// or bytes, `qh` the bits above them, `sc`/`mn` small integer scales and minima.

#include "kernels/cpu/gguf_blocks.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/portable_math.h"
#include "kernels/cpu/codebooks.h"

namespace potluck::kernels::cpu {
namespace {

int byte_at(const std::byte* p, std::size_t i) {
    return std::to_integer<int>(p[i]);
}

int signed_at(const std::byte* p, std::size_t i) {
    return static_cast<std::int8_t>(p[i]);
}

float half_at(const std::byte* p) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, p, sizeof bits);  // blocks have no alignment
    return half_to_float(bits);
}

/// Element i of 32 whose nibbles lie as byte j = element j (low) and j + 16 (high).
int nibble(const std::byte* qs, std::size_t i) {
    return i < 16 ? byte_at(qs, i) & 15 : byte_at(qs, i - 16) >> 4;
}

int bit(const std::byte* bits, std::size_t i) {
    return (byte_at(bits, i / 8) >> (i % 8)) & 1;
}

void store(Block32& out, std::size_t i, int value) {
    out.w[i] = static_cast<std::int16_t>(value);
}

void decode_q8_0(const std::byte* block, Block32& out) {
    out.d = half_at(block);
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, signed_at(block + 2, i));
}

void decode_q4_0(const std::byte* block, Block32& out) {
    out.d = half_at(block);
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, nibble(block + 2, i) - 8);
}

void decode_q4_1(const std::byte* block, Block32& out) {
    out.d = half_at(block);
    out.m = half_at(block + 2);
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, nibble(block + 4, i));
}

void decode_q5_0(const std::byte* block, Block32& out) {
    out.d = half_at(block);
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, (nibble(block + 6, i) | bit(block + 2, i) << 4) - 16);
}

void decode_q5_1(const std::byte* block, Block32& out) {
    out.d = half_at(block);
    out.m = half_at(block + 2);
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, nibble(block + 8, i) | bit(block + 4, i) << 4);
}

void decode_iq4_nl(const std::byte* block, Block32& out) {
    out.d = half_at(block);
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, kIq4Values[nibble(block + 2, i)]);
}

void decode_mxfp4(const std::byte* block, Block32& out) {
    out.d = mxfp4_scale(std::to_integer<std::uint8_t>(block[0]));
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, kMxfp4Values[nibble(block + 1, i)]);
}

// The K-quants: 256 elements; `sub` is the block of 32 within, l the element within that.
// Two bits of element l: four blocks of 32 share 32 bytes, lowest bits first.
int two_bits(const std::byte* qs, std::size_t sub, std::size_t l) {
    return byte_at(qs, 32 * (sub / 4) + l) >> (2 * (sub % 4)) & 3;
}

/// Four bits of element l in Q4_K and Q5_K: two blocks of 32 share 32 bytes.
int k_nibble(const std::byte* qs, std::size_t sub, std::size_t l) {
    return byte_at(qs, 32 * (sub / 2) + l) >> (4 * (sub % 2)) & 15;
}

void decode_q2_k(const std::byte* block, std::size_t sub, Block32& out) {
    out.d = half_at(block + 80);
    out.dmin = half_at(block + 82);
    for (std::size_t half = 0; half < 2; ++half) {
        const int scales = byte_at(block, 2 * sub + half);
        out.scale[half] = scales & 15;
        out.min[half] = scales >> 4;
    }
    for (std::size_t l = 0; l < 32; ++l)
        store(out, l, two_bits(block + 16, sub, l));
}

void decode_q3_k(const std::byte* block, std::size_t sub, Block32& out) {
    out.d = half_at(block + 108);
    for (std::size_t half = 0; half < 2; ++half)
        out.scale[half] = q3_k_scale(block + 96, 2 * sub + half);
    for (std::size_t l = 0; l < 32; ++l) {
        const int high = byte_at(block, l) >> sub & 1;
        store(out, l, (two_bits(block + 32, sub, l) | high << 2) - 4);
    }
}

void decode_k_scales(const std::byte* block, std::size_t sub, Block32& out) {
    const K4Scale k = k4_scale(block + 4, sub);
    out.d = half_at(block) * static_cast<float>(k.scale);
    out.m = -(half_at(block + 2) * static_cast<float>(k.min));
}

void decode_q4_k(const std::byte* block, std::size_t sub, Block32& out) {
    decode_k_scales(block, sub, out);
    for (std::size_t l = 0; l < 32; ++l)
        store(out, l, k_nibble(block + 16, sub, l));
}

void decode_q5_k(const std::byte* block, std::size_t sub, Block32& out) {
    decode_k_scales(block, sub, out);
    for (std::size_t l = 0; l < 32; ++l) {
        const int high = byte_at(block + 16, l) >> sub & 1;
        store(out, l, k_nibble(block + 48, sub, l) | high << 4);
    }
}

void decode_q6_k(const std::byte* block, std::size_t sub, Block32& out) {
    out.d = half_at(block + 208);
    for (std::size_t half = 0; half < 2; ++half)
        out.scale[half] = signed_at(block + 192, 2 * sub + half);
    // 128 elements share 64 bytes of low nibbles: blocks 0 and 1 the low ones, 2 and 3 the high.
    const std::byte* low = block + 64 * (sub / 4) + 32 * (sub % 2);
    const int shift = sub % 4 < 2 ? 0 : 4;
    for (std::size_t l = 0; l < 32; ++l) {
        const int n = (byte_at(low, l) >> shift & 15) | two_bits(block + 128, sub, l) << 4;
        store(out, l, n - 32);
    }
}

void decode_iq4_xs(const std::byte* block, std::size_t sub, Block32& out) {
    out.d = half_at(block) * static_cast<float>(iq4_xs_scale(block, sub));
    for (std::size_t i = 0; i < 32; ++i)
        store(out, i, kIq4Values[nibble(block + 8 + 16 * sub, i)]);
}

}  // namespace

float mxfp4_scale(std::uint8_t e) {
    // 2^(e - 128); the two smallest are subnormal.
    const std::uint32_t bits = e < 2 ? 0x00200000U << e : (e - 1U) << 23;
    return std::bit_cast<float>(bits);
}

K4Scale k4_scale(const std::byte* scales, std::size_t sub) {
    if (sub < 4) return {byte_at(scales, sub) & 63, byte_at(scales, sub + 4) & 63};
    const int low = byte_at(scales, sub + 4);
    return {(low & 15) | byte_at(scales, sub - 4) >> 6 << 4,
            low >> 4 | byte_at(scales, sub) >> 6 << 4};
}

int q3_k_scale(const std::byte* scales, std::size_t s) {
    const int low = s < 8 ? byte_at(scales, s) & 15 : byte_at(scales, s - 8) >> 4;
    const int high = byte_at(scales, 8 + s % 4) >> (2 * (s / 4)) & 3;
    return (low | high << 4) - 32;
}

int iq4_xs_scale(const std::byte* block, std::size_t sub) {
    const int low = byte_at(block + 4, sub / 2) >> (4 * (sub % 2)) & 15;
    const int high = byte_at(block + 2, sub / 4) >> (2 * (sub % 4)) & 3;
    return (low | high << 4) - 32;
}

void decode_block(TensorType type, const std::byte* block, std::size_t sub, Block32& out) {
    using enum TensorType;
    switch (type) {
        case kQ8_0:
            return decode_q8_0(block, out);
        case kQ4_0:
            return decode_q4_0(block, out);
        case kQ4_1:
            return decode_q4_1(block, out);
        case kQ5_0:
            return decode_q5_0(block, out);
        case kQ5_1:
            return decode_q5_1(block, out);
        case kIQ4_NL:
            return decode_iq4_nl(block, out);
        case kMXFP4:
            return decode_mxfp4(block, out);
        case kQ2_K:
            return decode_q2_k(block, sub, out);
        case kQ3_K:
            return decode_q3_k(block, sub, out);
        case kQ4_K:
            return decode_q4_k(block, sub, out);
        case kQ5_K:
            return decode_q5_k(block, sub, out);
        case kQ6_K:
            return decode_q6_k(block, sub, out);
        case kIQ4_XS:
            return decode_iq4_xs(block, sub, out);
        default:
            POTLUCK_CHECK(false && "a weight type without a decoder");
    }
}

}  // namespace potluck::kernels::cpu
