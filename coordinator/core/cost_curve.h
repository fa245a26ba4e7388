#pragma once

// What one batch costs one stage, as measured: a value, fitted from samples, that the scheduler
// asks how many rows fit into a time budget and how finely to cut its work.
//
// time(rows, keys) = table(rows) + keys * per_key. The table is piecewise linear between knots at
// powers of two and never falls; `keys` is the number of (row, earlier position) pairs that the
// batch's attention reads, the sum over rows of position + 1.
//
// A sample teaches the two knots beside its rows. Each knot remembers a faded mean of times and
// keys; the slope over keys is one for all knots, from how both differ from their means, and is
// held near zero until keys have differed much. A time counts as the median of the last three near
// its knot, so that one wild sample changes nothing and a lasting change is learnt within a few.
// Knots without samples lie on the line of the two beside them that have some, or of the last two;
// with one alone, or below the first, they keep the guess' shape at its scale.

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

    /// Takes a sample in. Recent samples weigh more; one wild sample changes little. Samples
    /// without rows or time are ignored.
    void observe(const StepSample& sample);
    nanoseconds time(std::size_t rows, std::uint64_t keys = 0) const;
    /// The least that it may turn out to be: between measured rows, the time of the fewer. Who
    /// chooses by this tries what was never measured and might be best, and then knows.
    nanoseconds least_time(std::size_t rows, std::uint64_t keys) const;
    /// The most rows, each reading `keys_per_row` keys, beside `rows` that are there already, that
    /// stay within `budget`; 0 if none does.
    std::size_t rows_within(nanoseconds budget, std::size_t rows, std::uint64_t keys,
                            std::uint64_t keys_per_row) const;
    std::uint64_t samples() const { return samples_; }

  private:
    struct Knot {
        double time_ns = 0;  ///< faded mean of the samples' times, brought to the knot's rows
        double keys = 0;     ///< and of their keys
        double weight = 0;   ///< of the samples, faded; 0: none yet
        double last_ns[2] = {0, 0};  ///< the last two times that were nearest to this knot
        int n_last = 0;
    };

    double nanoseconds_for(const std::array<double, kKnots>& table, double rows, double keys) const;
    void teach(std::size_t knot, double share, double keys, double time_ns);
    double median_time(Knot& knot, double time_ns);
    void rebuild();

    std::array<double, kKnots> guess_ns_{};
    std::array<double, kKnots> table_ns_{};  ///< without keys
    std::array<double, kKnots> least_ns_{};
    std::array<Knot, kKnots> knots_{};
    double per_key_ns_ = 0;
    double keys_variance_ = 0;  ///< faded sums that give the slope
    double keys_times_time_ = 0;
    double keys_squared_ = 0;
    double keys_weight_ = 0;
    std::uint64_t samples_ = 0;
};

}  // namespace potluck::coordinator
