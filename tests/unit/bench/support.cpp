#include "tests/unit/bench/support.h"

#include <cmath>
#include <cstring>

#include "base/portable_math.h"
#include "kernels/cpu/gguf_blocks.h"

namespace potluck::bench {
namespace {

float float_at(TensorType type, const std::byte* at) {
    if (type == TensorType::kF32) {
        float value = 0;
        std::memcpy(&value, at, sizeof value);
        return value;
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, at, sizeof bits);
    return type == TensorType::kF16 ? half_to_float(bits) : bfloat16_to_float(bits);
}

}  // namespace

std::vector<float> dequantize(TensorType type, std::span<const std::byte> bytes) {
    const auto& format = info(type);
    std::vector<float> values;
    for (std::size_t at = 0; at + format.block_bytes <= bytes.size(); at += format.block_bytes) {
        if (format.block_elements == 1) {
            values.push_back(float_at(type, bytes.data() + at));
            continue;
        }
        for (std::size_t sub = 0; sub < format.block_elements / 32; ++sub) {
            kernels::cpu::Block32 block;
            kernels::cpu::decode_block(type, bytes.data() + at, sub, block);
            values.resize(values.size() + 32);
            kernels::cpu::dequantize(kernels::cpu::block_form(type), block,
                                     values.data() + values.size() - 32);
        }
    }
    return values;
}

Moments moments(std::span<const float> values) {
    double sum = 0, squares = 0;
    for (const double v : values)
        sum += v;
    const double mean = sum / static_cast<double>(values.size());
    for (const double v : values)
        squares += (v - mean) * (v - mean);
    return {mean, std::sqrt(squares / static_cast<double>(values.size()))};
}

}  // namespace potluck::bench
