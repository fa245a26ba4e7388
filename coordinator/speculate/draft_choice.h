#pragma once

// How many drafted tokens pay, and in which shape: pure functions of chances and costs.
//
// Together: k drafted rows behind the certain one bring E(k) = 1 + sum_{i<=k} prod_{j<=i} p_j
// tokens in T(k). With u users in the round, whose tokens all wait for it, the gain is
//     ((u - 1 + E(k)) / u) * T(0) / T(k).
// The best k is where one more row would bring less per time than the round does so far.
//
// Ahead: jobs of m rows that follow one another, all behind a wrong row for nothing. The first one
// is back after T(m - 1), each that is still of use a slowest stage's time L(m) later:
//     gain = (1 + sum_i P_i) T(0) / (T(m - 1) + L(m) sum_{j>0} P_{jm} + w),   P_i = prod_{l<=i} p_l
// where w is what the round behind the wrong job takes longer, because what is cancelled is still
// there. For one row, equal chances and no w it is S / (S (1 - a) + a) (docs/speculation.md).
//
// Where a drafted token itself takes time c of some other thread, rounds are taken to last k c
// longer, and tokens ahead c each: it may be the stages' own processors that draft meanwhile.

#include <cstddef>
#include <span>

#include "coordinator/core/speculation.h"
#include "coordinator/speculate/calibration.h"
#include "coordinator/speculate/cost_corrections.h"

namespace potluck::coordinator {

struct Bet {
    std::size_t length = 0;  ///< 0: none pays; ahead: drafted rows that fill the pipeline
    double gain = 1;         ///< speed against no draft, expected
    double lower = 1;        ///< by the chances' lower bounds
    std::size_t job = 1;     ///< ahead: rows of each job
    double jobs = 1;         ///< ahead: (sum of stages and links) / slowest, for such jobs
};

struct BetLimits {
    std::size_t most = 0;       ///< rows
    nanoseconds allowance{};    ///< beyond a plain round
    double least = 1.03;        ///< the lower gain must reach it
    bool always = false;        ///< bets on the best length whatever it brings
    double least_chance = 0.1;  ///< ahead: of a job to be right, lower bound
    nanoseconds per_draft{};    ///< what a drafted token takes beside the rounds
};

Bet bet_together(std::span<const Chance> chances, const SpeculationCosts& costs,
                 const CostCorrections& corrections, const BetLimits& limits);
/// `chances`: from the first token behind the certain ones on.
Bet bet_ahead(std::span<const Chance> chances, const SpeculationCosts& costs,
              const CostCorrections& corrections, const BetLimits& limits);
/// Jobs in flight that keep the slowest stage busy, if (sum of stages and links) / slowest is
/// `jobs`. One that waits before the first stage is no loss: a cancel reaches it before it begins.
std::size_t window_of(double jobs);
/// The most that drafts could bring of which all are right: `sure` has that chance for each token.
double possible_gain(const SpeculationCosts& costs, const CostCorrections& corrections,
                     std::span<const Chance> sure, nanoseconds per_draft = {});

}  // namespace potluck::coordinator
