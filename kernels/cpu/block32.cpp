#include "kernels/cpu/block32.h"

#include <cmath>

#include "kernels/cpu/activations.h"

namespace potluck::kernels::cpu {
namespace {

/// Sum of w q over elements [begin, begin + 16). Exact.
int half_dot(const Block32& weight, const ActivationBlock& x, std::size_t begin) {
    int sum = 0;
    for (std::size_t i = begin; i < begin + 16; ++i)
        sum += weight.w[i] * x.q[i];
    return sum;
}

int half_sum(const ActivationBlock& x, std::size_t begin) {
    int sum = 0;
    for (std::size_t i = begin; i < begin + 16; ++i)
        sum += x.q[i];
    return sum;
}

}  // namespace

BlockForm block_form(TensorType type) {
    using enum TensorType;
    switch (type) {
        case kQ4_1:
        case kQ5_1:
        case kQ4_K:
        case kQ5_K:
            return BlockForm::kScaleAndOffset;
        case kQ3_K:
        case kQ6_K:
            return BlockForm::kHalves;
        case kQ2_K:
            return BlockForm::kHalvesAndOffsets;
        default:
            return BlockForm::kScale;
    }
}

float accumulate(BlockForm form, const Block32& weight, const ActivationBlock& x, float acc) {
    const int first = half_dot(weight, x, 0);
    const int second = half_dot(weight, x, 16);
    if (form == BlockForm::kScale || form == BlockForm::kScaleAndOffset) {
        acc = std::fma(static_cast<float>(first + second), weight.d * x.d, acc);
        return form == BlockForm::kScale ? acc : std::fma(weight.m, x.s, acc);
    }
    const int scaled = weight.scale[0] * first + weight.scale[1] * second;
    acc = std::fma(static_cast<float>(scaled), weight.d * x.d, acc);
    if (form == BlockForm::kHalves) return acc;
    const int offset = weight.min[0] * half_sum(x, 0) + weight.min[1] * half_sum(x, 16);
    return std::fma(-static_cast<float>(offset), weight.dmin * x.d, acc);
}

void dequantize(BlockForm form, const Block32& weight, float* out) {
    for (std::size_t i = 0; i < 32; ++i) {
        const auto n = static_cast<float>(weight.w[i]);
        const auto scale = static_cast<float>(weight.scale[i / 16]);
        const auto min = static_cast<float>(weight.min[i / 16]);
        switch (form) {
            case BlockForm::kScale:
                out[i] = weight.d * n;
                break;
            case BlockForm::kScaleAndOffset:
                out[i] = std::fma(weight.d, n, weight.m);
                break;
            case BlockForm::kHalves:
                out[i] = (weight.d * scale) * n;
                break;
            case BlockForm::kHalvesAndOffsets:
                out[i] = std::fma(weight.d * scale, n, -(weight.dmin * min));
                break;
        }
    }
}

}  // namespace potluck::kernels::cpu
