#include "kernels/cpu/kv_rows.h"

#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/portable_math.h"
#include "kernels/cpu/kv_codec.h"

namespace potluck::kernels::cpu {
namespace {

void put_scale(std::uint16_t scale, std::byte* out) {
    std::memcpy(out, &scale, kScaleBytes);
}
float get_scale(const std::byte* block) {
    std::uint16_t scale = 0;
    std::memcpy(&scale, block, kScaleBytes);
    return half_to_float(scale);
}
unsigned byte_at(const std::byte* from, std::size_t i) {
    return static_cast<unsigned>(from[i]);
}

/// Round to nearest, ties to even; NaN stays one.
std::uint16_t float_to_bfloat16(float f) {
    const auto bits = std::bit_cast<std::uint32_t>(f);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
    return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

/// Low halves of the bytes: values 0 to 15; high halves: values 16 to 31.
void put_nibbles(const std::int8_t* q, int offset, std::byte* out) {
    for (std::size_t i = 0; i < 16; ++i) {
        const auto low = static_cast<unsigned>(q[i] + offset) & 0xFU;
        const auto high = static_cast<unsigned>(q[i + 16] + offset) & 0xFU;
        out[i] = static_cast<std::byte>(low | high << 4);
    }
}

void put_block(KvType type, std::uint16_t scale, const std::int8_t* q, std::byte* out) {
    put_scale(scale, out);
    out += kScaleBytes;
    if (type == KvType::kQ8_0) {
        std::memcpy(out, q, kKvBlock);
    } else if (type == KvType::kQ4_0) {
        put_nibbles(q, 8, out);
    } else {
        std::uint32_t fifth = 0;
        for (std::size_t i = 0; i < kKvBlock; ++i)
            fifth |= (static_cast<std::uint32_t>(q[i] + 16) >> 4) << i;
        std::memcpy(out, &fifth, sizeof fifth);
        put_nibbles(q, 16, out + sizeof fifth);
    }
}

void put_turbo(std::uint16_t scale, const std::int8_t* index, std::size_t n, std::byte* out) {
    put_scale(scale, out);
    out += kScaleBytes;
    for (std::size_t first = 0; first < n; first += 32) {
        std::uint32_t planes[3] = {};
        for (std::size_t i = 0; i < 32; ++i)
            for (unsigned plane = 0; plane < 3; ++plane)
                planes[plane] |= ((static_cast<std::uint32_t>(index[first + i]) >> plane) & 1U)
                                 << i;
        std::memcpy(out, planes, sizeof planes);
        out += sizeof planes;
    }
}

}  // namespace

void rotate_head(const KvRowKernels& kernels, const float* x, std::size_t head_dim,
                 std::size_t rotation, bool back, float* out) {
    for (std::size_t i = 0; i < head_dim; i += rotation)
        kernels.rotate(x + i, rotation, back, out + i);
}

void write_kv_row(const KvRowKernels& kernels, KvType type, const float* x, std::size_t head_dim,
                  std::byte* out) {
    POTLUCK_CHECK(type != KvType::kF16);
    if (type == KvType::kBF16) {
        for (std::size_t i = 0; i < head_dim; ++i) {
            const std::uint16_t half = float_to_bfloat16(x[i]);
            std::memcpy(out + i * sizeof half, &half, sizeof half);
        }
        return;
    }
    const std::size_t rotation = kv_rotation(type, head_dim);
    const std::size_t step = rotation == 0 ? kKvBlock : rotation;
    const std::size_t step_bytes = kv_row_bytes(type, step);
    alignas(64) float turned[kKvGroup];
    std::int8_t levels[kKvGroup];
    for (std::size_t i = 0; i < head_dim; i += step, out += step_bytes) {
        const float* values = x + i;
        if (rotation != 0) {
            kernels.rotate(values, rotation, false, turned);
            values = turned;
        }
        if (type == KvType::kTurbo3) {
            put_turbo(kernels.quantize_turbo(values, step, levels), levels, step, out);
            continue;
        }
        const std::size_t block_bytes = kv_row_bytes(type, kKvBlock);
        for (std::size_t b = 0; b < step / kKvBlock; ++b)
            put_block(type, kernels.quantize_block(type, values + b * kKvBlock, levels), levels,
                      out + b * block_bytes);
    }
}

float read_kv(KvType type, const std::byte* row, std::size_t head_dim, std::size_t i) {
    const std::size_t at = i % kKvBlock;
    const auto nibble = [at](const std::byte* nibbles) {
        return byte_at(nibbles, at % 16) >> (at < 16 ? 0U : 4U) & 0xFU;
    };
    switch (type) {
        case KvType::kF16: {
            std::uint16_t half = 0;
            std::memcpy(&half, row + i * sizeof half, sizeof half);
            return half_to_float(half);
        }
        case KvType::kBF16: {
            std::uint16_t half = 0;
            std::memcpy(&half, row + i * sizeof half, sizeof half);
            return bfloat16_to_float(half);
        }
        case KvType::kQ8_0: {
            const std::byte* const block = row + i / kKvBlock * kQ8Bytes;
            return get_scale(block) *
                   static_cast<float>(static_cast<std::int8_t>(block[kScaleBytes + at]));
        }
        case KvType::kQ5_0: {
            const std::byte* const block = row + i / kKvBlock * kQ5Bytes;
            const unsigned fifth = byte_at(block + kScaleBytes, at / 8) >> (at % 8) & 1U;
            const unsigned n = nibble(block + kScaleBytes + 4) | fifth << 4;
            return get_scale(block) * static_cast<float>(static_cast<int>(n) - 16);
        }
        case KvType::kQ4_0: {
            const std::byte* const block = row + i / kKvBlock * kQ4Bytes;
            const unsigned n = nibble(block + kScaleBytes);
            return get_scale(block) * static_cast<float>(static_cast<int>(n) - 8);
        }
        case KvType::kTurbo3: {
            const std::size_t group = kv_rotation(type, head_dim);
            const std::byte* const block = row + i / group * kv_row_bytes(type, group);
            const std::byte* const planes =
                block + kScaleBytes + i % group / 32 * kTurboPlanesBytes;
            unsigned index = 0;
            for (std::size_t plane = 0; plane < 3; ++plane)
                index |= (byte_at(planes, plane * 4 + at / 8) >> (at % 8) & 1U) << plane;
            return get_scale(block) * kTurboPoints[index];
        }
    }
    return 0;
}

}  // namespace potluck::kernels::cpu
