#pragma once

// How long a stage takes for a batch, and the few batches that measure it before there is work.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/batch.h"
#include "base/result.h"
#include "engine/stage_model.h"

namespace potluck::engine {

/// One batch as its executor timed it: compute only, no wait and no link.
struct StepTime {
    std::uint32_t rows = 0;
    std::uint64_t keys = 0;  ///< sum over rows of position + 1
    std::chrono::nanoseconds compute{};

    friend bool operator==(const StepTime&, const StepTime&) = default;
};

/// All rows but junk.
std::size_t computed_rows(const Batch& batch);
/// Sum over the computed rows of position + 1: how many keys the batch's attention reads.
std::uint64_t keys_of(const Batch& batch);

/// A few measured steps, without an allocation.
struct StepTimeList {
    static constexpr std::size_t kMax = 4;
    std::array<StepTime, kMax> entries;
    std::size_t count = 0;

    void add(const StepTime& time) {
        if (count < kMax) entries[count++] = time;
    }
    std::span<const StepTime> all() const { return {entries.data(), count}; }
};

struct ProbeOptions {
    /// Rows of the largest batch: at most what a sequence and the model have room for.
    std::size_t max_rows = 64;
    std::chrono::nanoseconds budget = std::chrono::milliseconds(150);  ///< of all that count
    std::function<std::chrono::nanoseconds()> now;
};

/// Times steps of 1, 8 and as many rows as fit into the budget (at most 64) of a model that has no
/// sequence open, with tokens of no meaning in sequences of its own, which are released again. A
/// step before them is not counted: the first one after loading takes up to ten times as long, and
/// would otherwise be that of the first token. Only if it takes five seconds or more is it the one
/// that counts. The step of 1 is measured whatever the budget. An error is the model's: it cannot
/// run.
Result<StepTimeList> probe_steps(StageModel& model, const ProbeOptions& options);

}  // namespace potluck::engine
