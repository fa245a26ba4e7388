#pragma once

// What a batch alone takes beyond the stages' computing: links, queues, wake-ups. A faded mean;
// each time counts as the median of the last three, so that one round that something held up
// (memory that is touched first, another process) changes nothing.

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace potluck::coordinator {

using std::chrono::nanoseconds;

class WayBeyond {
  public:
    void observe(nanoseconds beyond) {
        beyond = std::max(beyond, nanoseconds(0));
        const nanoseconds lower = std::min(beyond, last_[0]);
        const nanoseconds upper = std::max(beyond, last_[0]);
        // Of two the lower one: what holds up comes on top.
        const nanoseconds usual =
            n_ < 2 ? (n_ == 0 ? beyond : lower) : std::clamp(last_[1], lower, upper);
        last_[1] = last_[0];
        last_[0] = beyond;
        n_ = std::min(n_ + 1, kMemory);
        // The first three only say what is usual.
        mean_ = n_ <= 3 ? usual : mean_ + (usual - mean_) / n_;
    }
    /// 0 before the first.
    nanoseconds value() const { return mean_; }

  private:
    static constexpr std::int64_t kMemory = 8;  ///< rounds that the mean remembers
    nanoseconds mean_{};
    nanoseconds last_[2] = {};  ///< the newest first
    std::int64_t n_ = 0;
};

}  // namespace potluck::coordinator
