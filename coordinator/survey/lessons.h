#pragma once

// What served steps teach of devices, for the next plan. A probe measures a device alone and for a
// second; what a step of one row then takes, with the processor's other work around it and after a
// wait for the other stages, is known only once it was served. Pure.

#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/core/plan.h"
#include "coordinator/planner/planner.h"
#include "coordinator/survey/live_plan.h"
#include "coordinator/survey/measured_speed.h"

namespace potluck::coordinator {

/// Tokens a second of one user by what the stages took for their first steps, right after loading,
/// and the predicted way between them. `at_start`: the same prediction behind no token, where those
/// steps were; they are believed to grow with the depth as predicted. 0: a stage has said nothing.
double corrected_decode_tps(const planner::Prediction& predicted,
                            const planner::Prediction& at_start, const MeasuredSpeed& first_steps);

class Lessons {
  public:
    /// Steps of a stage, behind few tokens, before they count.
    static constexpr std::size_t kLeastSteps = 16;
    /// Nothing is believed to be further from its probe than so many times.
    static constexpr double kMostTimes = 8;

    /// A plan begins, with what was predicted of it by these machines.
    void begin(const Surveyed& surveyed, const Plan& plan,
               const std::optional<planner::Prediction>& predicted);
    /// The node is not what it was.
    void forget(NodeId node);
    /// Writes into Surveyed::slowness what the plan's stages have shown so far.
    void learn(const MeasuredSpeed& measured, Surveyed& surveyed) const;

  private:
    struct Stage {
        NodeId node;  ///< 0: forgotten
        std::uint32_t device = 0;
        double probed_s = 0;  ///< a step of one row by the probe alone
    };
    std::vector<Stage> stages_;
};

}  // namespace potluck::coordinator
