#pragma once

// What a stage's executor thread runs: one part of a model on one device. Implemented by Shard, and
// by the simulator's fake model.

#include <cstddef>
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

    /// Applies the batch's operations, then computes its rows. `input` and `output` hold rows *
    /// width values; `result` (cleared, capacity kept) gets the sampled rows if this stage has the
    /// head. After an error the sequences' states are not defined: the epoch is over for this
    /// stage.
    virtual Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
                       StepResult& result) = 0;
};

}  // namespace potluck::engine
