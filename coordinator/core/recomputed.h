#pragma once

// What a change of plan cost: rows that were fed again, and how much of them each stage computes.

#include <cstdint>
#include <vector>

#include "coordinator/core/plan.h"

namespace potluck::coordinator {

/// Of the sequences that the present pipeline took over.
struct Recomputed {
    std::uint64_t rows = 0;      ///< fed again
    std::uint64_t refilled = 0;  ///< of those, that stages from Plan::kept_from on held
    std::uint64_t kept = 0;      ///< not fed again
};

struct StageRecomputed {
    std::uint64_t rows = 0;    ///< of which it computed at least one layer again
    std::uint64_t layers = 0;  ///< the sum over rows of the layers that it computed
};

/// By stage. In the last layer in front of those that are kept only keys and values are computed.
std::vector<StageRecomputed> by_stage(const Recomputed& recomputed, const Plan& plan);

}  // namespace potluck::coordinator
