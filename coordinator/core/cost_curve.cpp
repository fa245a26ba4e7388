#include "coordinator/core/cost_curve.h"

#include <algorithm>
#include <bit>
#include <vector>

namespace potluck::coordinator {
namespace {

constexpr double kMostRows = 8192;
/// Samples that a mean remembers: a new one never weighs less than one in this many.
constexpr double kMemory = 16;
constexpr double kSlopeFade = 0.98;
/// The slope is held at zero by this share of the mean square of keys.
constexpr double kSlopeRidge = 0.05;
/// And by what so many keys of difference in each sample would add: fewer cost less than the noise.
constexpr double kSlopeKeys = 256;
/// Of a knot's time, at least this much is not the keys'.
constexpr double kLeastWithoutKeys = 0.05;

double rows_at(std::size_t knot) {
    return static_cast<double>(std::uint64_t{1} << knot);
}

struct Place {
    std::size_t knot = 0;  ///< the one at or below
    double above = 0;      ///< share of the next one
};

Place place_of(double rows) {
    const double bounded = std::clamp(rows, 1.0, kMostRows);
    const auto whole = static_cast<std::uint64_t>(bounded);
    const auto knot = static_cast<std::size_t>(std::bit_width(whole)) - 1;
    return {knot, (bounded - rows_at(knot)) / rows_at(knot)};
}

}  // namespace

CostCurve::CostCurve(nanoseconds base, nanoseconds per_row) {
    for (std::size_t k = 0; k < kKnots; ++k) {
        const double ns =
            static_cast<double>(base.count()) + static_cast<double>(per_row.count()) * rows_at(k);
        guess_ns_[k] = table_ns_[k] = least_ns_[k] = std::max(ns, 1.0);
    }
}

double CostCurve::nanoseconds_for(const std::array<double, kKnots>& table, double rows,
                                  double keys) const {
    const Place place = place_of(rows);
    double ns = table[place.knot];
    if (place.above > 0) ns += place.above * (table[place.knot + 1] - table[place.knot]);
    if (rows > kMostRows) ns *= rows / kMostRows;
    return ns + per_key_ns_ * keys;
}

nanoseconds CostCurve::time(std::size_t rows, std::uint64_t keys) const {
    if (rows == 0) return nanoseconds(0);
    return nanoseconds(static_cast<std::int64_t>(
        nanoseconds_for(table_ns_, static_cast<double>(rows), static_cast<double>(keys))));
}

nanoseconds CostCurve::least_time(std::size_t rows, std::uint64_t keys) const {
    if (rows == 0) return nanoseconds(0);
    return nanoseconds(static_cast<std::int64_t>(
        nanoseconds_for(least_ns_, static_cast<double>(rows), static_cast<double>(keys))));
}

std::size_t CostCurve::rows_within(nanoseconds budget, std::size_t rows, std::uint64_t keys,
                                   std::uint64_t keys_per_row) const {
    std::size_t fits = 0;
    for (std::size_t step = std::size_t{1} << (kKnots - 1); step > 0; step /= 2) {
        const std::size_t more = fits + step;
        if (time(rows + more, keys + more * keys_per_row) <= budget) fits = more;
    }
    return fits;
}

/// The median of this time and the last two near the same knot.
double CostCurve::median_time(Knot& knot, double time_ns) {
    double median = time_ns;
    if (knot.n_last == 2) {
        const auto [low, high] = std::minmax(knot.last_ns[0], knot.last_ns[1]);
        median = std::clamp(time_ns, low, high);
    }
    knot.last_ns[0] = knot.last_ns[1];
    knot.last_ns[1] = time_ns;
    knot.n_last = std::min(knot.n_last + 1, 2);
    return median;
}

void CostCurve::observe(const StepSample& sample) {
    if (sample.rows == 0 || sample.time.count() <= 0) return;
    const double rows = std::min(static_cast<double>(sample.rows), kMostRows);
    const auto keys = static_cast<double>(sample.keys);
    const Place place = place_of(rows);
    const std::size_t nearest = place.knot + (place.above >= 0.5 ? 1 : 0);
    // Brought to a knot's rows, a time keeps its ratio to what was expected.
    const auto expected_at = [&](std::size_t knot) {
        return nanoseconds_for(table_ns_, rows_at(knot), keys * rows_at(knot) / rows);
    };
    const double at_nearest = expected_at(nearest);
    const double ratio =
        static_cast<double>(sample.time.count()) / nanoseconds_for(table_ns_, rows, keys);
    const double used = median_time(knots_[nearest], ratio * at_nearest) / at_nearest;
    const double below = used * expected_at(place.knot);
    const double above = place.above > 0 ? used * expected_at(place.knot + 1) : 0;
    ++samples_;
    keys_variance_ *= kSlopeFade;
    keys_times_time_ *= kSlopeFade;
    keys_squared_ *= kSlopeFade;
    keys_weight_ *= kSlopeFade;
    teach(place.knot, 1 - place.above, keys * rows_at(place.knot) / rows, below);
    if (place.above > 0)
        teach(place.knot + 1, place.above, keys * rows_at(place.knot + 1) / rows, above);
    const double held =
        keys_variance_ + kSlopeRidge * keys_squared_ + kSlopeKeys * kSlopeKeys * keys_weight_;
    per_key_ns_ = held > 0 ? std::max(0.0, keys_times_time_ / held) : 0;
    rebuild();
}

void CostCurve::teach(std::size_t index, double share, double keys, double time_ns) {
    Knot& knot = knots_[index];
    if (knot.weight > 0) {
        const double more_keys = keys - knot.keys;
        keys_variance_ += share * more_keys * more_keys;
        keys_times_time_ += share * more_keys * (time_ns - knot.time_ns);
    }
    keys_squared_ += share * keys * keys;
    keys_weight_ += share;
    knot.weight = std::min(knot.weight + share, kMemory);
    const double rate = share / knot.weight;
    knot.time_ns += rate * (time_ns - knot.time_ns);
    knot.keys += rate * (keys - knot.keys);
}

/// The table from the knots that have samples: made monotone by pooling neighbours that disagree,
/// then the others from lines or the guess.
void CostCurve::rebuild() {
    struct Pool {
        double sum = 0;
        double weight = 0;
        std::size_t knots = 0;
        double mean() const { return sum / weight; }
    };
    std::array<std::size_t, kKnots> seen{};
    std::array<Pool, kKnots> pools{};
    std::size_t n_seen = 0;
    std::size_t n_pools = 0;
    for (std::size_t k = 0; k < kKnots; ++k) {
        const Knot& knot = knots_[k];
        if (knot.weight <= 0) continue;
        seen[n_seen++] = k;
        const double ns = std::max(knot.time_ns - per_key_ns_ * knot.keys,
                                   std::max(1.0, kLeastWithoutKeys * knot.time_ns));
        pools[n_pools++] = {ns * knot.weight, knot.weight, 1};
        while (n_pools > 1 && pools[n_pools - 2].mean() > pools[n_pools - 1].mean()) {
            Pool& into = pools[n_pools - 2];
            into.sum += pools[n_pools - 1].sum;
            into.weight += pools[n_pools - 1].weight;
            into.knots += pools[n_pools - 1].knots;
            --n_pools;
        }
    }
    for (std::size_t pool = 0, i = 0; pool < n_pools; ++pool) {
        for (std::size_t n = pools[pool].knots; n > 0; --n, ++i)
            table_ns_[seen[i]] = pools[pool].mean();
    }
    const auto scale = [&](std::size_t k) { return table_ns_[k] / guess_ns_[k]; };
    const auto on_line = [&](std::size_t low, std::size_t high, std::size_t k) {
        const double share = (rows_at(k) - rows_at(low)) / (rows_at(high) - rows_at(low));
        return table_ns_[low] + share * (table_ns_[high] - table_ns_[low]);
    };
    for (std::size_t k = 0, next = 0; k < kKnots; ++k) {
        if (next < n_seen && seen[next] == k) {
            ++next;
            least_ns_[k] = table_ns_[k];
            continue;
        }
        if (next == 0) {
            least_ns_[k] = table_ns_[k] = guess_ns_[k] * scale(seen[0]);
        } else if (next == n_seen) {
            const std::size_t last = seen[n_seen - 1];
            table_ns_[k] = guess_ns_[k] * scale(last);
            if (n_seen > 1) table_ns_[k] = on_line(seen[n_seen - 2], last, k);
            least_ns_[k] = table_ns_[last];
        } else {
            table_ns_[k] = on_line(seen[next - 1], seen[next], k);
            least_ns_[k] = table_ns_[seen[next - 1]];
        }
    }
}

}  // namespace potluck::coordinator
