#pragma once

// How fast a pipeline turns out to be, to be shown beside what was predicted. Pure.

#include <chrono>
#include <cstddef>
#include <vector>

#include "base/ids.h"
#include "coordinator/core/cost_curve.h"

namespace potluck::coordinator {

/// Rows from which a step counts as one of a prompt.
inline constexpr std::uint32_t kPromptRows = 32;
/// Keys up to which a step of one row is like those that are predicted: behind 128 tokens.
inline constexpr std::uint64_t kFewKeys = 512;

class MeasuredSpeed {
  public:
    /// A new pipeline: nothing is known of it.
    void reset(std::size_t stages);
    /// What a stage took to compute a batch.
    void observe(StageIndex stage, const StepSample& sample);
    /// What a batch of one row took from the coordinator through all stages and back, alone. The
    /// first one, which finds everything cold, does not count.
    void observe_trip(std::chrono::nanoseconds time);

    /// Tokens a second of one user: by whole trips, or while there were none by the stages' times
    /// alone, without links. 0: not known.
    double decode_tps() const;
    /// The same in its parts: what each stage takes for one row, and what the rest of a trip is.
    /// Seconds; 0: not known.
    double stage_s(std::size_t stage) const {
        return stage < stages_.size() ? stages_[stage].one_row_s.value : 0;
    }
    double way_s() const;
    /// What a stage takes for one row behind few tokens, and the steps that this is the mean of
    /// (those long ago are not counted); 0: not known.
    double shallow_s(std::size_t stage) const {
        return stage < stages_.size() ? stages_[stage].shallow_row_s.value : 0;
    }
    std::size_t shallow_steps(std::size_t stage) const {
        return stage < stages_.size() ? stages_[stage].shallow_row_s.count : 0;
    }
    /// Tokens a second of a prompt of `chunks` equal chunks, by the stages' times for a row of
    /// steps that had many: the first chunk passes all stages, every further one takes what the
    /// slowest stage takes. 0: not known.
    double prefill_tps(double chunks) const;

  private:
    /// Recent values weigh more.
    struct Mean {
        double value = 0;
        std::size_t count = 0;
        void add(double v);
    };
    struct Stage {
        Mean one_row_s;
        Mean shallow_row_s;  ///< with few keys
        Mean prompt_row_s;
    };
    std::vector<Stage> stages_;
    Mean trip_s_;
    bool warm_ = false;
};

}  // namespace potluck::coordinator
