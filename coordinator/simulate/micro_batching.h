#pragma once

// What the best constant micro-batching would make of a pipeline, found by trying all of them, and
// what the scheduler makes of it.

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "coordinator/simulate/simulation.h"

namespace potluck::simulate {

/// `micro_batches` batches, as equal as can be, go round and round for ever.
struct ConstantBatching {
    std::size_t micro_batches = 0;
    double tokens_per_second = 0;
};

struct MicroBatchingOptions {
    std::size_t users = 64;   ///< all decode, none ever ends
    std::size_t prompt = 16;  ///< tokens of each before
    std::size_t rounds = 64;  ///< tokens of each user that are measured, on average
    std::size_t settle = 64;  ///< and those before, from the moment at which all decode
};

/// The steady state with `micro_batches` of them, 1 to users; each row reads `keys_per_row` keys.
ConstantBatching constant_micro_batching(const PipelineModel& model, std::size_t users,
                                         std::size_t micro_batches, double keys_per_row);

struct MicroBatchingResult {
    std::vector<ConstantBatching> tried;  ///< 1 to min(users, max(max_in_flight, 3 * stages + 2))
    ConstantBatching best;
    double tokens_per_second = 0;  ///< the scheduler's
    double rows_per_batch = 0;     ///< the scheduler's
    double keys_per_row = 0;       ///< while it was measured; the constant ones get the same
    double ratio() const { return tokens_per_second / best.tokens_per_second; }
};

/// Runs the scheduler with `limits` and `scheduler` of `options`; slots, context and pages are
/// raised to what all users need at once. Errors as simulate.
Result<MicroBatchingResult> compare_micro_batching(const SimulationOptions& options,
                                                   const MicroBatchingOptions& what);

}  // namespace potluck::simulate
