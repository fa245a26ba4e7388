// Quantisation and embedding: the same for all instruction sets but for the innermost loop.

#include <algorithm>
#include <cstring>

#include "base/portable_math.h"
#include "kernels/cpu/gguf_blocks.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/tile_pack.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu {
namespace {

/// Blocks of 32 per task: a few microseconds, so that a short row is not worth waking a thread.
constexpr std::size_t kBlocksPerTask = 256;

void embed_float(const CpuWeight& weight, std::size_t row, float* out) {
    const std::size_t columns = weight.columns();
    const std::byte* source = weight.data() + row * weight.row_stride();
    for (std::size_t k = 0; k < columns; ++k) {
        if (weight.type() == TensorType::kF32) {
            std::memcpy(out + k, source + 4 * k, 4);
            continue;
        }
        std::uint16_t bits = 0;
        std::memcpy(&bits, source + 2 * k, 2);
        out[k] = weight.type() == TensorType::kF16 ? half_to_float(bits) : bfloat16_to_float(bits);
    }
}

void embed_blocks(const CpuWeight& weight, std::size_t row, float* out) {
    const TensorTypeInfo& type = info(weight.type());
    const BlockForm form = block_form(weight.type());
    const std::size_t subs = type.block_elements / 32;
    const std::byte* source = weight.data() + row * weight.row_stride();
    for (std::size_t b = 0; b < weight.columns() / 32; ++b) {
        Block32 block;
        decode_block(weight.type(), source + b / subs * type.block_bytes, b % subs, block);
        dequantize(form, block, out + 32 * b);
    }
}

void embed_tile_row(const CpuWeight& weight, std::size_t row, float* out) {
    const TileLayout layout(weight.type(), weight.columns(), weight.rows());
    const BlockForm form = block_form(weight.type());
    for (std::size_t b = 0; b < layout.blocks; ++b) {
        Block32 block;
        unpack_block(layout, weight.data(), row, b, block);
        dequantize(form, block, out + 32 * b);
    }
}

void embed_row(const CpuWeight& weight, std::int32_t token, float* out) {
    if (token < 0 || static_cast<std::size_t>(token) >= weight.rows()) {
        std::fill_n(out, weight.columns(), 0.0F);
        return;
    }
    const auto row = static_cast<std::size_t>(token);
    if (is_float(weight.type())) return embed_float(weight, row, out);
    if (weight.layout() == WeightLayout::kTiles) return embed_tile_row(weight, row, out);
    embed_blocks(weight, row, out);
}

}  // namespace

void quantize_rows(ThreadPool& pool, const QuantizeArgs& args, QuantizeKernel kernel) {
    POTLUCK_CHECK(args.columns % 32 == 0);
    const std::size_t blocks = args.columns / 32;
    const std::size_t total = args.n_rows * blocks;
    auto* out = reinterpret_cast<ActivationBlock*>(args.out);
    auto task = [&](std::size_t i) {
        const std::size_t begin = i * kBlocksPerTask;
        kernel(args.x, blocks, begin, std::min(total, begin + kBlocksPerTask), out);
    };
    pool.run((total + kBlocksPerTask - 1) / kBlocksPerTask, task);
}

void embed_rows(ThreadPool& pool, const EmbedArgs& args) {
    const CpuWeight& weight = cpu_weight(args.weight);
    auto task = [&](std::size_t i) {
        embed_row(weight, args.tokens[i], args.out + i * weight.columns());
    };
    pool.run(args.n_rows, task);
}

}  // namespace potluck::kernels::cpu
