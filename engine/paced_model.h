#pragma once

// A stage that takes as long as it is told to: the results are those of the model within, and the
// rest of the wanted time is slept. With it one small machine stands for several of unequal speed.
//
// It decorates the stage and not the device, because only a stage knows the rows of a batch. It can
// only make a stage slower: a batch that takes longer than its pace by itself is counted as late.
//
// Thread: as every StageModel, the executor's of its device.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "engine/pace.h"
#include "engine/stage_model.h"

namespace potluck::engine {

/// What a paced stage knows of time; given to it, so that tests need not wait.
struct PaceClock {
    std::function<nanoseconds()> now;
    /// What a pace of the form "x3" multiplies; null: `now`.
    std::function<nanoseconds()> spent;
    /// Returns at `until`, or before if nobody waits for the batch any more.
    std::function<void(nanoseconds until)> sleep_until;
};
/// Real time, and as time spent that of the calling thread on a processor: what other programs take
/// from it makes no paced stage slower until it is more than the stage would sleep. (Of a device
/// with several threads that is the caller's part of the work, which is as long as the others'.)
/// Asks `abandoned` every few milliseconds and returns early once it says yes.
PaceClock steady_pace_clock(std::function<bool()> abandoned);

class PacedModel final : public StageModel {
  public:
    PacedModel(std::unique_ptr<StageModel> model, Pace pace, PaceClock clock);

    std::size_t input_width() const override { return model_->input_width(); }
    std::size_t output_width() const override { return model_->output_width(); }
    std::size_t max_rows() const override { return model_->max_rows(); }
    std::size_t room() const override { return model_->room(); }
    bool keeps() const override { return model_->keeps(); }
    std::size_t skipped_rows() const override { return model_->skipped_rows(); }
    /// Only rows that are computed are paced: not junk, nor skipped, nor of a batch that is given
    /// up. One that is given up while it sleeps is for the clock to notice.
    Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
               StepResult& result) override;

    void look_at(const std::atomic<bool>* given_up) override {
        StageModel::look_at(given_up);
        model_->look_at(given_up);
    }

    /// Batches that took longer by themselves than they should.
    std::uint64_t late() const { return late_; }

  private:
    std::unique_ptr<StageModel> model_;
    Pace pace_;
    PaceClock clock_;
    std::uint64_t late_ = 0;
};

}  // namespace potluck::engine
