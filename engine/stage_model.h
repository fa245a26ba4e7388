#pragma once

// What a stage's executor thread runs: one part of a model on one device. Implemented by Shard, and
// by the simulator's fake model.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/batch.h"
#include "base/result.h"

namespace potluck::engine {

class StageModel {
  public:
    virtual ~StageModel() = default;

    /// Values per row that come in; 0 if this stage has the embedding.
    virtual std::size_t input_width() const = 0;
    /// Values per row that go out; 0 if this stage has the head.
    virtual std::size_t output_width() const = 0;
    virtual std::size_t max_rows() const = 0;
    /// How many positions a new sequence would find room for now.
    virtual std::size_t room() const { return SIZE_MAX; }
    /// Whether it began with all the keys and values that it was asked to keep over a change of
    /// plan.
    virtual bool keeps() const { return false; }
    /// Rows of the last batch whose work here was wholly or partly left out, because their keys and
    /// values were kept.
    virtual std::size_t skipped_rows() const { return 0; }

    /// Applies the batch's operations, then computes its rows. `input` and `output` hold rows *
    /// width values; `result` (cleared, capacity kept) gets the sampled rows if this stage has the
    /// head. After an error the sequences' states are not defined: the epoch is over for this
    /// stage.
    ///
    /// Rows with kRowJunk take their positions like any other, but may be left out of everything
    /// else: what leaves and what is cached of them is not defined, and no sample is made.
    virtual Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
                       StepResult& result) = 0;

    /// Where to look, from layer to layer, whether the batch that runs is given up: then all its
    /// rows are junk. Valid until the next call; null: none is ever given up.
    virtual void look_at(const std::atomic<bool>* given_up) { given_up_ = given_up; }

  protected:
    bool is_given_up() const {
        return given_up_ != nullptr && given_up_->load(std::memory_order_relaxed);
    }

  private:
    const std::atomic<bool>* given_up_ = nullptr;
};

}  // namespace potluck::engine
