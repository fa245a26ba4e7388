#pragma once

// How large a step is and how many are in flight, from what steps cost the stages. A value of
// numbers: it knows no sequence.
//
// With c_s(n) the time of n rows on stage s and h the links of one round (all hops and the way back
// through the coordinator), m batches that follow one another in turn take
//
//     cycle(m) = max( max_s sum_j c_s(n_j),  max_j sum_s c_s(n_j) + h )
//
// for one token of each user: either the slowest stage never rests, or a batch is back at the
// coordinator before its turn. Where a step costs mostly its weights (c nearly constant), every
// batch beyond the first useful one only repeats that cost; where rows cost, more batches fill more
// stages. So the number that is best is looked for, not assumed.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "coordinator/core/cost_curve.h"

namespace potluck::coordinator {

struct StageCost {
    CostCurve curve;
    /// From this stage to the next one; for the last, back through the coordinator to the first.
    nanoseconds hop{};
    nanoseconds hop_per_row{};  ///< more for each row of a batch: its bytes at the link's bandwidth
};

/// What holds until samples come: a small model on one thread, shared by the stages; links are
/// free.
std::vector<StageCost> guessed_costs(std::size_t stages);

struct Load {
    std::size_t rows = 0;
    std::uint64_t keys = 0;
};

/// Rows of prompts in a batch that is full of them. What a first token waits is judged by such
/// batches (docs/simulation.md).
constexpr std::size_t kFullChunk = 256;

class Pacing {
  public:
    /// One cost per stage; `max_rows` bounds a batch.
    Pacing(std::vector<StageCost> stages, std::size_t max_in_flight, std::size_t max_rows);

    void observe(StageIndex stage, const StepSample& sample);

    /// Of the slowest stage or link.
    nanoseconds slowest(const Load& load) const;
    /// Of a batch alone, from the coordinator and back.
    nanoseconds way_through(const Load& load) const;
    /// The least that it may take for one token of each of `users` in `batches` batches as equal as
    /// can be.
    nanoseconds cycle(std::size_t users, std::size_t batches, std::uint64_t keys_per_row) const;

    /// In how many batches `users` sequences are decoded with the shortest cycle. Stays with the
    /// last answer while that is within a percent of the best.
    std::size_t decode_batches(std::size_t users, std::uint64_t keys_per_row);
    /// Batches in flight that keep the slowest stage busy, if all are like this one.
    std::size_t depth(const Load& load) const;
    /// Rows of prompts, each reading `keys_per_row`, that may join `load` while somebody waits for
    /// the next token and a round of the pipeline may take `budget`. Prompts get at least half of a
    /// step's time, so that neither decoding nor what each step costs anyway starves them.
    std::size_t rows_beside(const Load& load, std::uint64_t keys_per_row, nanoseconds budget) const;
    /// What a step may take while a round of the pipeline takes `budget`.
    nanoseconds step_within(nanoseconds budget, const Load& load, std::uint64_t keys_per_row) const;
    /// Rows that may join `load` while no stage computes for longer than `step`.
    std::size_t rows_within(nanoseconds step, const Load& load, std::uint64_t keys_per_row) const;
    /// Rows per batch with which `rows` of prompts are through soonest when nobody decodes: small
    /// chunks fill and drain the stages quickly, large ones repeat a step's base cost less often.
    /// The smallest of those within a percent of the best.
    std::size_t chunk(std::size_t rows, std::uint64_t keys_per_row, std::size_t most) const;
    /// For how long the slowest stage computes a full chunk of prompts.
    nanoseconds full_chunk(std::uint64_t keys_per_row) const;
    /// Rows of prompts per second when nobody decodes.
    double prefill_rate() const;

  private:
    std::vector<StageCost> stages_;
    std::size_t max_in_flight_;
    std::size_t max_rows_;
    std::size_t batches_ = 1;  ///< the last answer of decode_batches
};

}  // namespace potluck::coordinator
