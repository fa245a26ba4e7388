#pragma once

// The best pipeline for an objective, over some of the devices.

#include "coordinator/planner/predict.h"

namespace potluck::planner {

struct BestPipeline {
    Pipeline pipeline;  ///< empty: nothing fits
    double seconds = 0;
    double lower_bound_s = 0;
};

struct Among {
    std::uint64_t devices = ~std::uint64_t{0};  ///< one bit each
    std::size_t least_stages = 1;
    std::vector<std::uint32_t> order;  ///< not empty: exactly these in this order
};
BestPipeline best_pipeline(Predictor& predictor, Objective objective, const Among& among = {});

}  // namespace potluck::planner
