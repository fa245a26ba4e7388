#include "coordinator/speculate/draft_choice.h"

#include <algorithm>
#include <bit>

namespace potluck::coordinator {
namespace {

constexpr double kRecent = 1.0 / 16;  ///< weight of a new ratio
constexpr double kLeastRatio = 0.5, kMostRatio = 3;
constexpr double kNearlyWhole = 0.25;  ///< a window of 2.75 counts as 3

double to_double(nanoseconds time) {
    return static_cast<double>(time.count());
}

double together_gain(double expected, std::size_t k, const SpeculationCosts& costs,
                     const CostCorrection& correction, nanoseconds per_draft) {
    const auto users = static_cast<double>(std::max<std::size_t>(costs.users, 1));
    const double plain = to_double(costs.together[0]) * correction.of(0);
    const double round = to_double(costs.together[k]) * correction.of(k) +
                         to_double(per_draft) * static_cast<double>(k);
    return round > 0 ? (users - 1 + expected) / users * plain / round : 1;
}

/// What is left of a gain if every token takes `per_draft` more.
double slowed(double gain, const SpeculationCosts& costs, nanoseconds per_draft) {
    if (per_draft <= nanoseconds{} || costs.plain <= nanoseconds{}) return gain;
    return 1 / (1 / gain + to_double(per_draft) / to_double(costs.plain));
}

}  // namespace

std::size_t CostCorrection::class_of(std::size_t drafted) {
    return std::min<std::size_t>(std::bit_width(drafted), kClasses - 1);
}

void CostCorrection::observe(std::size_t drafted, nanoseconds took, nanoseconds foretold) {
    if (foretold <= nanoseconds{} || took <= nanoseconds{}) return;
    const double seen = std::clamp(to_double(took) / to_double(foretold), kLeastRatio, kMostRatio);
    const std::size_t i = class_of(drafted);
    ratio_[i] = known_[i] ? ratio_[i] + (seen - ratio_[i]) * kRecent : seen;
    known_[i] = true;
}

double CostCorrection::of(std::size_t drafted) const {
    for (std::size_t i = class_of(drafted) + 1; i-- > 0;) {
        if (known_[i]) return ratio_[i];
    }
    return 1;
}

Bet bet_together(std::span<const Chance> chances, const SpeculationCosts& costs,
                 const CostCorrection& correction, const BetLimits& limits) {
    if (costs.together.empty()) return {};
    const std::size_t most = std::min({chances.size(), limits.most, costs.together.size() - 1});
    const double plain = to_double(costs.together[0]) * correction.of(0);
    double mean = 1, lower = 1, expected = 1, at_least = 1;
    Bet best{.gain = limits.always ? 0.0 : 1.0};
    Bet careful{.lower = 1};
    for (std::size_t k = 1; k <= most; ++k) {
        mean *= chances[k - 1].mean;
        lower *= chances[k - 1].lower;
        expected += mean;
        at_least += lower;
        const double round = to_double(costs.together[k]) * correction.of(k);
        if (round - plain > to_double(limits.allowance)) break;
        const Bet bet{.length = k,
                      .gain = together_gain(expected, k, costs, correction, limits.per_draft),
                      .lower = together_gain(at_least, k, costs, correction, limits.per_draft),
                      .takes = costs.together[k]};
        if (bet.gain > best.gain) best = bet;
        if (bet.lower > careful.lower) careful = bet;
    }
    if (limits.always || best.lower >= limits.least) return best;
    if (careful.lower >= limits.least) return careful;
    return {.gain = best.gain, .lower = best.lower};
}

double ahead_gain(double window, double chance) {
    return window / (window * (1 - chance) + chance);
}

std::size_t window_of(const SpeculationCosts& costs) {
    return static_cast<std::size_t>(std::max(1.0, costs.window + kNearlyWhole));
}

Bet bet_ahead(std::span<const Chance> chances, const SpeculationCosts& costs,
              const BetLimits& limits) {
    const std::size_t window = window_of(costs);
    const std::size_t most = std::min({chances.size(), limits.most, window - 1});
    if (most == 0 || limits.allowance <= nanoseconds{}) return {};
    double mean = 0, lower = 0;
    for (std::size_t i = 0; i < most; ++i) {
        mean += chances[i].mean / static_cast<double>(most);
        lower += chances[i].lower / static_cast<double>(most);
    }
    // A draft shorter than the window fills only so much of it.
    const double filled = std::min(costs.window, static_cast<double>(most + 1));
    const Bet bet{.length = most,
                  .gain = slowed(ahead_gain(filled, mean), costs, limits.per_draft),
                  .lower = slowed(ahead_gain(filled, lower), costs, limits.per_draft)};
    const bool pays = bet.lower >= limits.least && lower >= limits.least_chance;
    if (limits.always || pays) return bet;
    return {.gain = bet.gain, .lower = bet.lower};
}

double possible_gain(const SpeculationCosts& costs, const CostCorrection& correction,
                     std::size_t most, nanoseconds per_draft) {
    double best = window_of(costs) > 1 ? slowed(costs.window, costs, per_draft) : 1;
    for (std::size_t k = 1; k < costs.together.size() && k <= most; ++k) {
        const auto expected = static_cast<double>(k + 1);
        best = std::max(best, together_gain(expected, k, costs, correction, per_draft));
    }
    return best;
}

}  // namespace potluck::coordinator
