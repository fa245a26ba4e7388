// The scalar reference: what every other path is compared with, bit by bit (docs/arithmetic.md).
// Weights stay GGUF blocks. Written to be read; the only concession to speed is that a weight block
// is decoded once for several batch rows.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/portable_math.h"
#include "kernels/cpu/activations.h"
#include "kernels/cpu/gguf_blocks.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu {
namespace {

constexpr std::size_t kRowsAtOnce = 8;  ///< batch rows that share a decoded block

float float_weight(TensorType type, const std::byte* row, std::size_t k) {
    if (type == TensorType::kF32) {
        float value = 0;
        std::memcpy(&value, row + 4 * k, sizeof value);
        return value;
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, row + 2 * k, sizeof bits);
    return type == TensorType::kF16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

/// The fold of a lane sum.
float fold(float (&lanes)[16]) {
    for (std::size_t h = 8; h > 0; h /= 2)
        for (std::size_t j = 0; j < h; ++j)
            lanes[j] += lanes[j + h];
    return lanes[0];
}

/// dot16(float(w), x).
float float_dot(TensorType type, const std::byte* weight_row, const float* x, std::size_t columns) {
    float lanes[16] = {};
    const std::size_t padded = (columns + 15) / 16 * 16;
    for (std::size_t k = 0; k < padded; ++k) {
        const bool exists = k < columns;
        const float w = exists ? float_weight(type, weight_row, k) : 0.0F;
        lanes[k % 16] = std::fma(w, exists ? x[k] : 0.0F, lanes[k % 16]);
    }
    return fold(lanes);
}

/// One output for batch rows [first, first + n): `y[i]` without the bias.
void quantised_dots(const CpuWeight& weight, std::size_t output, const ActivationBlock* x,
                    std::size_t first, std::size_t n, float* y) {
    const TensorTypeInfo& type = info(weight.type());
    const BlockForm form = block_form(weight.type());
    const std::size_t blocks = weight.columns() / 32;
    const std::size_t subs = type.block_elements / 32;
    const std::byte* row = weight.data() + output * row_bytes(weight.type(), weight.columns());
    std::fill_n(y, n, 0.0F);
    for (std::size_t b = 0; b < blocks; ++b) {
        Block32 block;
        decode_block(weight.type(), row + b / subs * type.block_bytes, b % subs, block);
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t at = activation_index(first + i, blocks) + b * kActivationGroup;
            y[i] = accumulate(form, block, x[at], y[i]);
        }
    }
}

void one_output(const CpuWeight& weight, std::size_t output, const MatmulArgs& args) {
    const std::size_t columns = weight.columns();
    for (std::size_t first = 0; first < args.n_rows; first += kRowsAtOnce) {
        const std::size_t n = std::min(kRowsAtOnce, args.n_rows - first);
        float y[kRowsAtOnce];
        if (is_float(weight.type())) {
            const auto* x = reinterpret_cast<const float*>(args.activations) + first * columns;
            const std::byte* row = weight.data() + output * row_bytes(weight.type(), columns);
            for (std::size_t i = 0; i < n; ++i)
                y[i] = float_dot(weight.type(), row, x + i * columns, columns);
        } else {
            const auto* x = reinterpret_cast<const ActivationBlock*>(args.activations);
            quantised_dots(weight, output, x, first, n, y);
        }
        for (std::size_t i = 0; i < n; ++i) {
            const float bias = args.bias != nullptr ? args.bias[output] : 0.0F;
            args.out[(first + i) * weight.rows() + output] =
                args.bias != nullptr ? y[i] + bias : y[i];
        }
    }
}

/// Squared error of the block in steps of d: a lane sum.
float squared_error(const float* x, float d, float inverse) {
    float lanes[16] = {};
    for (std::size_t i = 0; i < 32; ++i) {
        const float rest = std::fma(-std::nearbyint(x[i] * inverse), d, x[i]);
        lanes[i % 16] = std::fma(rest, rest, lanes[i % 16]);
    }
    return fold(lanes);
}

void quantize_block(const float* x, ActivationBlock& out) {
    float amax = 0;
    for (std::size_t i = 0; i < 32; ++i) {
        const float magnitude = std::fabs(x[i]);
        amax = magnitude > amax ? magnitude : amax;  // NaN never wins
    }
    float d = 0;
    float inverse = 0;
    float least = 0;
    for (int k = 0; k < kScaleCandidates; ++k) {
        const float d_k = amax / static_cast<float>(127 - k);
        const float inverse_k = d_k > 0.0F ? 1.0F / d_k : 0.0F;
        const float error = squared_error(x, d_k, inverse_k);
        if (k > 0 && !(error < least)) continue;
        d = d_k;
        inverse = inverse_k;
        least = error;
    }
    int sum[2] = {};
    for (std::size_t i = 0; i < 32; ++i) {
        float t = x[i] * inverse;
        t = t > -127.0F ? t : -127.0F;
        t = t < 127.0F ? t : 127.0F;
        const int q = static_cast<int>(std::nearbyint(t));  // ties to even
        out.q[i] = static_cast<std::int8_t>(q);
        sum[i / 16] += q;
    }
    out.d = d;
    out.s = d * static_cast<float>(sum[0] + sum[1]);
    out.sum[0] = static_cast<std::int16_t>(sum[0]);
    out.sum[1] = static_cast<std::int16_t>(sum[1]);
    out.minus_8_sums = -8 * (sum[0] + sum[1]);
}

}  // namespace

void quantize_scalar(const float* x, std::size_t blocks, std::size_t begin, std::size_t end,
                     ActivationBlock* out) {
    for (std::size_t i = begin; i < end; ++i) {
        const std::size_t at = activation_index(i / blocks, blocks) + i % blocks * kActivationGroup;
        quantize_block(x + 32 * i, out[at]);
    }
}

void matmul_scalar(ThreadPool& pool, std::span<const MatmulArgs> products) {
    for (const MatmulArgs& args : products) {
        const CpuWeight& weight = cpu_weight(args.weight);
        POTLUCK_CHECK(weight.layout() == WeightLayout::kBlocks);
        auto task = [&](std::size_t output) { one_output(weight, output, args); };
        pool.run(weight.rows(), task);
    }
}

Result<std::unique_ptr<PackedWeight>> pack_scalar(ThreadPool& pool, WeightArena& arena,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range) {
    POTLUCK_TRY(check_pack(bytes, type, columns, range));
    const std::size_t rows = range.end - range.begin;
    const std::size_t row = row_bytes(type, columns);
    POTLUCK_ASSIGN(PackedMemory memory, arena.allocate(rows * row));
    std::byte* const out = memory.data();
    const std::byte* source = bytes.data() + range.begin * row;
    auto copy = [&](std::size_t r) { std::memcpy(out + r * row, source + r * row, row); };
    pool.run(rows, copy);
    return std::make_unique<CpuWeight>(type, rows, columns, WeightLayout::kBlocks,
                                       std::move(memory));
}

Result<std::unique_ptr<PackedWeight>> keep_scalar(ThreadPool&, WeightArena&,
                                                  const std::shared_ptr<TileScratch>&,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range) {
    POTLUCK_TRY(check_pack(bytes, type, columns, range));
    const std::size_t rows = range.end - range.begin;
    const std::size_t row = row_bytes(type, columns);
    return std::make_unique<CpuWeight>(type, rows, columns, WeightLayout::kBlocks,
                                       bytes.subspan(range.begin * row, rows * row), nullptr);
}

std::size_t packed_bytes_scalar(TensorType type, std::size_t columns, std::size_t rows) {
    return rows * row_bytes(type, columns);
}

}  // namespace potluck::kernels::cpu
