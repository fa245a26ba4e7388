#pragma once

// Deliberate mistakes, each of a kind that a bug could make, to see that the simulation notices.

#include <memory>

#include "tests/sim/fake_model.h"

namespace potluck::sim {

enum class Sabotage {
    kNone,
    kSwapActivations,  ///< two rows of one batch arrive in each other's place
    kFlipBit,          ///< one activation arrives with one bit wrong
    kStaleActivation,  ///< a row arrives with what the row before it had
    kDropFork,
    kShortFork,
    kDropRelease,
    kForgetSeed,     ///< an open loses its sampler's seed
    kDropResult,     ///< a sampled row gets no answer
    kForgetCopies,   ///< pages that are shared are written without copy
    kForkStranger,   ///< a fork takes another sequence that is long enough
    kForgetHistory,  ///< the tokens of a forked beginning are not known where it is sampled
    kSpoilShared,    ///< a place is overwritten after another sequence began to share it
    kDropTruncate    ///< what should be kept in part is kept as a whole
};

/// A stage that makes the mistake once, at the first chance (kForgetCopies: always).
class SabotagedModel final : public engine::StageModel {
  public:
    SabotagedModel(FakeModel& model, Sabotage sabotage) : model_(model), sabotage_(sabotage) {}

    std::size_t input_width() const override { return model_.input_width(); }
    std::size_t output_width() const override { return model_.output_width(); }
    std::size_t max_rows() const override { return model_.max_rows(); }
    Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
               StepResult& result) override;

    bool made() const { return made_; }

  private:
    bool spoil(std::vector<Operation>& operations);
    bool spoil(std::span<float> input) const;

    FakeModel& model_;
    Sabotage sabotage_;
    bool made_ = false;
};

}  // namespace potluck::sim
