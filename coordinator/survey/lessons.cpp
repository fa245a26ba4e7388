#include "coordinator/survey/lessons.h"

#include <algorithm>

namespace potluck::coordinator {

double corrected_decode_tps(const planner::Prediction& predicted,
                            const planner::Prediction& at_start, const MeasuredSpeed& first_steps) {
    double token_s = predicted.way_s;
    for (std::size_t i = 0; i < predicted.stages_s.size(); ++i) {
        if (first_steps.shallow_steps(i) == 0 || at_start.stages_s[i] <= 0) return 0;
        token_s += first_steps.shallow_s(i) * predicted.stages_s[i] / at_start.stages_s[i];
    }
    return token_s > 0 ? 1 / token_s : 0;
}

void Lessons::begin(const Surveyed& surveyed, const Plan& plan,
                    const std::optional<planner::Prediction>& predicted) {
    stages_.clear();
    if (!predicted || predicted->stages_s.size() != plan.stages.size()) return;
    for (std::size_t i = 0; i < plan.stages.size(); ++i) {
        const auto& placed = plan.stages[i];
        const auto known = surveyed.slowness.find({placed.node, placed.device});
        const double times = known == surveyed.slowness.end() ? 1 : known->second;
        stages_.push_back({placed.node, placed.device, predicted->stages_s[i] / times});
    }
}

void Lessons::forget(NodeId node) {
    for (auto& stage : stages_)
        if (stage.node == node) stage.node = {};
}

void Lessons::learn(const MeasuredSpeed& measured, Surveyed& surveyed) const {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        const Stage& stage = stages_[i];
        if (stage.node.value == 0 || stage.probed_s <= 0 || measured.shallow_steps(i) < kLeastSteps)
            continue;
        surveyed.slowness[{stage.node, stage.device}] =
            std::clamp(measured.shallow_s(i) / stage.probed_s, 1 / kMostTimes, kMostTimes);
    }
}

}  // namespace potluck::coordinator
