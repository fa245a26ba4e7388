#include "coordinator/speculate/cost_corrections.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace potluck::coordinator {
namespace {

constexpr double kMemory = 16;  ///< rounds that a mean remembers
/// What the next smaller class says counts as so many rounds, less once there are some.
constexpr double kPrior = 4;
constexpr double kFade = 1 - 1.0 / 128;  ///< of a class' weight when another one is measured
/// A round counts as at most so many times what is believed of its class.
constexpr double kWildest = 3;
constexpr double kLeastRatio = 0.5;

double to_double(nanoseconds time) {
    return static_cast<double>(time.count());
}

}  // namespace

std::size_t CostCorrection::class_of(std::size_t drafted) {
    return std::min<std::size_t>(std::bit_width(drafted), kClasses - 1);
}

void CostCorrection::observe(std::size_t drafted, nanoseconds took, nanoseconds foretold) {
    if (foretold <= nanoseconds{} || took <= nanoseconds{}) return;
    const double most = kWildest * std::max(of(drafted), 1.0);
    const double seen = std::clamp(to_double(took) / to_double(foretold), kLeastRatio, most);
    const std::size_t measured = class_of(drafted);
    for (std::size_t i = 0; i < kClasses; ++i) {
        if (i != measured) weight_[i] *= kFade;
    }
    double& weight = weight_[measured];
    weight = std::min(weight + 1, kMemory);
    mean_[measured] += (seen - mean_[measured]) / weight;
}

double CostCorrection::of(std::size_t drafted, double unknown) const {
    double ratio = unknown;
    for (std::size_t i = 0; i <= class_of(drafted); ++i) {
        const double prior = kPrior * (1 - weight_[i] / kMemory);
        const double both = weight_[i] + prior;
        ratio = (weight_[i] * mean_[i] + prior * ratio) / both;
    }
    return ratio;
}

nanoseconds CostCorrections::behind_wrong() const {
    return nanoseconds(static_cast<nanoseconds::rep>(std::max(behind_wrong_ns_, 0.0)));
}

/// One that takes very long for another reason counts as one that takes twice as long as it should.
void CostCorrections::observe_behind_wrong(nanoseconds longer, nanoseconds plain) {
    const double most = to_double(plain);
    behind_wrong_ns_ += (std::clamp(to_double(longer), -most, most) - behind_wrong_ns_) / kMemory;
}

void RoundTimes::foretell(const Draft& draft, const SpeculationCosts& costs) {
    if (draft.tokens.empty()) return;
    if (draft.shape == DraftShape::kTogether) {
        foretold_ = costs.together[draft.tokens.size()];
        return;
    }
    job_ = draft.job;
    const std::size_t i = draft.job - 1;
    const bool several = i < costs.slowest_of.size() && i < costs.together.size();
    foretold_ = several ? costs.slowest_of[i] : costs.slowest;
    foretold_first_ = several ? costs.together[i] : costs.plain;
}

void RoundTimes::correct(const RoundVerdict& round, CostCorrections& corrections) {
    const bool together = round.shape == DraftShape::kTogether;
    const bool wrong = round.accepted < round.drafted;
    const bool hindered = std::exchange(hindered_, !together && wrong);
    const bool follows = std::exchange(follows_, !together && round.drafted > 0 && !wrong);
    if (together) {
        const nanoseconds foretold = round.drafted > 0 ? foretold_ : round.plain;
        if (!hindered) return corrections.together.observe(round.drafted, round.took, foretold);
        const double ratio = corrections.together.of(round.drafted);
        const auto should = nanoseconds(static_cast<nanoseconds::rep>(to_double(foretold) * ratio));
        return corrections.observe_behind_wrong(round.took - should, round.plain);
    }
    if (hindered) return;  // behind others that are on their way anyway
    if (follows) return corrections.follows.observe(job_, round.took, foretold_);
    corrections.begins.observe(job_, round.took, foretold_first_);
}

}  // namespace potluck::coordinator
