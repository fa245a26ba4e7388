// What the weights in bytes are worth.

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/tensor_type.h"

namespace potluck::bench {

std::vector<float> dequantize(TensorType type, std::span<const std::byte> bytes);

struct Moments {
    double mean = 0;
    double deviation = 0;
};
Moments moments(std::span<const float> values);

}  // namespace potluck::bench
