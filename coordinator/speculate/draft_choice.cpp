#include "coordinator/speculate/draft_choice.h"

#include <algorithm>
#include <cmath>

namespace potluck::coordinator {
namespace {

constexpr double kNearlyWhole = 0.1;  ///< so little more is not worth one more job
constexpr double kMostChance = 0.98;  ///< that a copy goes on beyond what was drafted
/// Drafts are not made longer once they are reached so seldom.
constexpr double kLeastReached = 0.002;

double to_double(nanoseconds time) {
    return static_cast<double>(time.count());
}

/// What is left of a gain if every token takes `per_draft` more.
double slowed(double gain, const SpeculationCosts& costs, nanoseconds per_draft) {
    if (per_draft <= nanoseconds{} || costs.plain <= nanoseconds{}) return gain;
    return 1 / (1 / gain + to_double(per_draft) / to_double(costs.plain));
}

}  // namespace

Bet bet_together(std::span<const Chance> chances, const SpeculationCosts& costs,
                 const CostCorrections& corrections, const BetLimits& limits) {
    if (costs.together.empty()) return {};
    const std::size_t most = std::min({chances.size(), limits.most, costs.together.size() - 1});
    const auto users = static_cast<double>(std::max<std::size_t>(costs.users, 1));
    const double plain = to_double(costs.together[0]) * corrections.together.of(0);
    double mean = 1, lower = 1, expected = 1, at_least = 1;
    Bet best{.gain = limits.always ? 0.0 : 1.0};
    Bet careful{.lower = 1};
    for (std::size_t k = 1; k <= most && mean > kLeastReached; ++k) {
        mean *= chances[k - 1].mean;
        lower *= chances[k - 1].lower;
        expected += mean;
        at_least += lower;
        const double round = to_double(costs.together[k]) * corrections.together.of(k);
        if (round - plain > to_double(limits.allowance)) break;
        const double with_drafting = round + to_double(limits.per_draft) * static_cast<double>(k);
        const double per_token = plain / std::max(with_drafting, 1.0) / users;
        const Bet bet{.length = k,
                      .gain = (users - 1 + expected) * per_token,
                      .lower = (users - 1 + at_least) * per_token};
        if (bet.gain > best.gain) best = bet;
        if (bet.lower > careful.lower) careful = bet;
    }
    if (limits.always || best.lower >= limits.least) return best;
    if (careful.lower >= limits.least) return careful;
    return {.gain = best.gain, .lower = best.lower};
}

std::size_t window_of(double jobs) {
    return static_cast<std::size_t>(std::max(1.0, std::ceil(jobs - kNearlyWhole)));
}

namespace {

/// Jobs of so many rows: what the first and each further one take.
struct JobTimes {
    double plain = 0, begins = 0, follows = 0, behind_wrong = 0;
    double jobs = 1;
};

JobTimes job_times(std::size_t rows, const SpeculationCosts& costs,
                   const CostCorrections& corrections) {
    const bool several = rows <= costs.slowest_of.size() && rows <= costs.together.size();
    const nanoseconds slowest = several ? costs.slowest_of[rows - 1] : costs.slowest;
    const nanoseconds way = several ? costs.together[rows - 1] : costs.plain;
    JobTimes times{
        .plain = to_double(costs.plain) * corrections.together.of(0),
        .begins = to_double(way) * corrections.begins.of(rows, corrections.together.of(rows - 1)),
        .follows = to_double(slowest) * corrections.follows.of(rows),
        .behind_wrong = to_double(corrections.behind_wrong())};
    // Other users' certain rows take the place of some jobs.
    const double others = std::max(
        to_double(costs.plain) / std::max(to_double(costs.slowest), 1.0) - costs.window, 0.0);
    times.follows = std::max(times.follows, 1.0);
    times.jobs = std::max(times.begins / times.follows - others, 1.0);
    return times;
}

/// By the means or by the lower bounds of `chances`, of which `in_window` fill the pipeline.
double ahead_gain(std::span<const Chance> chances, double Chance::*which, std::size_t rows,
                  std::size_t in_window, const JobTimes& times) {
    double survives = 1, tokens = 1, jobs = 0;
    for (std::size_t i = 1; i <= chances.size(); ++i) {
        survives *= chances[i - 1].*which;
        tokens += survives;
        if (i % rows == 0) jobs += survives;
    }
    // What fills the pipeline goes on as it began.
    if (chances.size() >= in_window) {
        const double p = std::min(chances.back().*which, kMostChance);
        const double job = std::pow(p, static_cast<double>(rows));
        tokens += survives * p / (1 - p);
        jobs += survives * job / (1 - job);
    }
    return tokens * times.plain / (times.begins + times.follows * jobs + times.behind_wrong);
}

}  // namespace

Bet bet_ahead(std::span<const Chance> chances, const SpeculationCosts& costs,
              const CostCorrections& corrections, const BetLimits& limits) {
    Bet best{.gain = limits.always ? 0.0 : 1.0};
    Bet missed;
    if (limits.allowance <= nanoseconds{}) return missed;
    // Larger jobs would hold up other users' rows.
    const std::size_t most_rows =
        costs.users > 1
            ? 1
            : std::max<std::size_t>(std::min(costs.slowest_of.size(), costs.together.size()), 1);
    for (std::size_t rows = 1; rows <= most_rows; rows *= 2) {
        const JobTimes times = job_times(rows, costs, corrections);
        const std::size_t in_window = rows * window_of(times.jobs) - 1;
        const std::size_t most = std::min({chances.size(), limits.most, in_window});
        if (most < rows || window_of(times.jobs) < 2) continue;
        const double first = rows > 1 ? std::max(times.begins - times.plain, 0.0) : 0;
        if (first + times.behind_wrong > to_double(limits.allowance)) break;
        double lower = 0;
        for (std::size_t i = 0; i < most; ++i)
            lower += chances[i].lower / static_cast<double>(most);
        const auto used = chances.first(std::min(chances.size(), limits.most));
        const auto gain = [&](double Chance::*which) {
            return slowed(ahead_gain(used, which, rows, in_window, times), costs, limits.per_draft);
        };
        const Bet bet{.length = most,
                      .gain = gain(&Chance::mean),
                      .lower = gain(&Chance::lower),
                      .job = rows,
                      .jobs = times.jobs};
        const bool pays = bet.lower >= limits.least && lower >= limits.least_chance;
        if ((limits.always || pays) && bet.gain > best.gain) {
            best = bet;
        } else if (bet.gain > missed.gain) {
            missed = {.gain = bet.gain, .lower = bet.lower};
        }
    }
    return best.length > 0 ? best : missed;
}

double possible_gain(const SpeculationCosts& costs, const CostCorrections& corrections,
                     std::span<const Chance> sure, nanoseconds per_draft) {
    const BetLimits limits{.most = sure.size(),
                           .allowance = nanoseconds::max(),
                           .always = true,
                           .per_draft = per_draft};
    return std::max(bet_together(sure, costs, corrections, limits).gain,
                    bet_ahead(sure, costs, corrections, limits).gain);
}

}  // namespace potluck::coordinator
