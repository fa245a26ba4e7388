#pragma once

// How much longer than without drafts one request may have taken, and what a round may still risk.
//
// D is the sum over rounds with drafts of (time - tokens * time of one without), by measurement,
// and of what drafting took elsewhere that may have held the stream up, with or without such
// rounds. Its bound is B = max(2 plain rounds, 1 % of the time so far). A draft is only made if D
// stays within B even should nothing of it be right: so D passes B only by what rounds take longer
// than was foretold. If it does, nothing is drafted for kFirstPause tokens, twice as many each
// time, and after that only once B has grown. D is never taken below -B: early gains do not pay for
// a long slow stretch.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace potluck::coordinator {

using std::chrono::nanoseconds;

class DebtAccount {
  public:
    static constexpr std::size_t kFirstPause = 16, kLongestPause = 512;  ///< tokens

    /// A round that brought `tokens`; `plain`: of one without drafts at this moment; `elsewhere`:
    /// what drafting took beside it and before it.
    void round(nanoseconds took, nanoseconds plain, std::size_t tokens, bool drafted,
               nanoseconds elsewhere = {}) {
        elapsed_ += took;
        plain_ = plain;
        if (!drafted && elsewhere == nanoseconds{}) return;
        nanoseconds lost = elsewhere;
        if (drafted) lost += took - static_cast<std::int64_t>(tokens) * plain;
        total_ += lost;
        debt_ = std::max(debt_ + lost, -bound());
        if (debt_ > bound()) {
            wait_ = pause_;
            pause_ = std::min(2 * pause_, kLongestPause);
        } else if (debt_ <= nanoseconds{}) {
            pause_ = kFirstPause;
        }
    }
    /// Tokens came, in whatever round.
    void came(std::size_t tokens) { wait_ -= std::min(wait_, tokens); }

    nanoseconds debt() const { return debt_; }
    nanoseconds bound() const { return std::max(2 * plain_, elapsed_ / 100); }
    bool open() const { return wait_ == 0 && debt_ <= bound(); }
    /// How much longer than a plain one the next round may take: what was won, and half of the
    /// rest, so that a wrong try always leaves enough for a smaller one. `plain`: see round().
    nanoseconds allowance(nanoseconds plain) {
        plain_ = plain;
        return allowance();
    }
    /// By the plain round that was last heard of.
    nanoseconds allowance() const {
        if (!open()) return {};
        return debt_ < nanoseconds{} ? bound() / 2 - debt_ : (bound() - debt_) / 2;
    }
    /// Against no drafts, over all rounds; negative: won.
    nanoseconds total() const { return total_; }

  private:
    nanoseconds debt_{}, total_{}, elapsed_{}, plain_{};
    std::size_t pause_ = kFirstPause;
    std::size_t wait_ = 0;
};

}  // namespace potluck::coordinator
