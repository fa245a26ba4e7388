#include "coordinator/core/recomputed.h"

#include <algorithm>

namespace potluck::coordinator {

std::vector<StageRecomputed> by_stage(const Recomputed& recomputed, const Plan& plan) {
    const std::uint64_t whole = recomputed.rows - recomputed.refilled;
    std::vector<StageRecomputed> all;
    for (const auto& stage : plan.stages) {
        const LayerIndex end = std::clamp(plan.kept_from, stage.part.begin, stage.part.end);
        const std::uint64_t lost = end - stage.part.begin;
        const std::uint64_t layers = stage.part.end - stage.part.begin;
        all.push_back({.rows = whole + (lost > 0 ? recomputed.refilled : 0),
                       .layers = whole * layers + recomputed.refilled * lost});
    }
    return all;
}

}  // namespace potluck::coordinator
