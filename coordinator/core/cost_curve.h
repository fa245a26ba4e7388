#pragma once

// What one batch costs one stage, as measured: a value, fitted from samples, that the scheduler
// asks how many rows fit into a time budget and how finely to cut its work.
//
// time(rows, keys) = table(rows) + keys * per_key. The table is piecewise linear between knots at
// powers of two and never falls; `keys` is the number of (row, earlier position) pairs that the
// batch's attention reads, the sum over rows of position + 1.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace potluck::coordinator {

using std::chrono::nanoseconds;

/// One executed batch of one stage, as the worker timed it: compute only, no wait and no link.
struct StepSample {
    std::uint32_t rows = 0;
    std::uint64_t keys = 0;
    nanoseconds time{};
};

class CostCurve {
  public:
    static constexpr std::size_t kKnots = 14;  ///< 1, 2, 4, … 8192 rows

    /// A guess that holds until samples come: a step costs `base`, a row `per_row` more.
    CostCurve(nanoseconds base, nanoseconds per_row);

    /// Takes a sample in. Recent samples weigh more; one wild sample changes little.
    void observe(const StepSample& sample);
    nanoseconds time(std::size_t rows, std::uint64_t keys = 0) const;
    /// The most rows, each reading `keys_per_row` keys, beside `rows` that are there already, that
    /// stay within `budget`; 0 if none does.
    std::size_t rows_within(nanoseconds budget, std::size_t rows, std::uint64_t keys,
                            std::uint64_t keys_per_row) const;
    std::uint64_t samples() const { return samples_; }

  private:
    std::array<double, kKnots> table_ns_{};
    std::array<double, kKnots> weight_{};  ///< of the samples seen near a knot, faded
    double per_key_ns_ = 0;
    std::uint64_t samples_ = 0;
};

}  // namespace potluck::coordinator
