#pragma once

// What a model reads and multiplies for one token, from its graph: the numerators of the shares.

#include <cstdint>

#include "base/result.h"
#include "engine/open_model.h"
#include "kernels/api/device.h"

namespace potluck::bench {

struct Footprint {
    std::uint64_t read_bytes = 0;    ///< packed, of a decode step; each use of a matrix counts
    std::uint64_t body_weights = 0;  ///< elements of matrices that each row is multiplied by
    std::uint64_t head_weights = 0;  ///< and that each sampled row is multiplied by besides
};
Result<Footprint> token_footprint(const engine::OpenModel& model, const kernels::Device& device);

}  // namespace potluck::bench
