#include "coordinator/planner/inventory.h"

#include <algorithm>
#include <cmath>

namespace potluck::planner {

double MatmulRates::at(double rows) const {
    constexpr std::array<double, 3> kLog2{0, 3, 9};
    const double x = std::clamp(std::log2(std::max(rows, 1.0)), kLog2.front(), kLog2.back());
    const std::size_t i = x < kLog2[1] ? 0 : 1;
    const double part = (x - kLog2[i]) / (kLog2[i + 1] - kLog2[i]);
    return gops[i] + part * (gops[i + 1] - gops[i]);
}

const MatmulRates& Device::rates(TensorType type) const {
    for (const auto& own : by_type)
        if (own.type == type) return own.rates;
    const bool plain =
        type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
    return plain ? floats : quantised;
}

bool Device::supports(TensorType type) const {
    if (!info(type).weight) return false;
    return types.empty() || std::find(types.begin(), types.end(), type) != types.end();
}

}  // namespace potluck::planner
