#include "coordinator/speculate/cost_corrections.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace potluck::coordinator {
namespace {

constexpr double kRecent = 1.0 / 16;  ///< weight of a new ratio
constexpr double kLeastRatio = 0.5, kMostRatio = 3;

double to_double(nanoseconds time) {
    return static_cast<double>(time.count());
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

double CostCorrection::of(std::size_t drafted, double unknown) const {
    for (std::size_t i = class_of(drafted) + 1; i-- > 0;) {
        if (known_[i]) return ratio_[i];
    }
    return unknown;
}

nanoseconds CostCorrections::behind_wrong() const {
    return nanoseconds(static_cast<nanoseconds::rep>(std::max(behind_wrong_ns_, 0.0)));
}

/// One that takes very long for another reason counts as one that takes twice as long as it should.
void CostCorrections::observe_behind_wrong(nanoseconds longer, nanoseconds plain) {
    const double most = to_double(plain);
    behind_wrong_ns_ += (std::clamp(to_double(longer), -most, most) - behind_wrong_ns_) * kRecent;
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
