#pragma once

// When a certificate is renewed: when two thirds of its life are over, so that there is a third
// left in which a coordinator that is away comes back. Pure: the time is given.

#include <algorithm>
#include <chrono>

#include "security/certificates.h"

namespace potluck::security {

class Renewal {
  public:
    explicit Renewal(const Validity& validity) { renewed(validity); }

    bool due(Time now) const { return now >= next_; }
    /// When it is due.
    Time next() const { return next_; }
    /// A new one was asked for: if none comes, it is due again after a while.
    void asked(Time now) { next_ = now + std::clamp<Time::duration>(life_ / 60, kLeast, kMost); }
    void renewed(const Validity& validity) {
        life_ = validity.until - validity.from;
        next_ = validity.from + life_ / 3 * 2;
    }

  private:
    static constexpr std::chrono::milliseconds kLeast{100};
    static constexpr std::chrono::hours kMost{1};

    Time::duration life_{};
    Time next_;
};

}  // namespace potluck::security
