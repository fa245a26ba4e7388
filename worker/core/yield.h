#pragma once

// When a worker yields its machine to somebody else, and when it comes back: some detectors look
// again and again, and say "busy" or "calm". Busy twice in a row by one of them, and the worker
// yields; it is back when none of them has seen anything for a while. Pure.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace potluck::worker {

enum class Verdict : std::uint8_t {
    kCalm,
    kBusy,
    kUnknown,  ///< it could not look: what it saw last counts
};

/// What one detector saw.
struct Sight {
    Verdict verdict = Verdict::kCalm;
    std::string detail;  ///< of kBusy, for people
};

struct YieldOptions {
    unsigned busy_looks = 2;  ///< in a row before it yields; the very first look counts alone
    std::chrono::nanoseconds calm = std::chrono::seconds(60);  ///< without any before it is back
};

class Yield {
  public:
    explicit Yield(YieldOptions options) : options_(options) {}

    /// One look of all detectors, always the same ones in the same order.
    void on_look(std::chrono::nanoseconds now, const std::vector<Sight>& sights);
    bool yielding() const { return yielding_; }
    const std::string& why() const { return why_; }  ///< of the detector that began it

  private:
    YieldOptions options_;
    bool first_ = true;
    bool yielding_ = false;
    std::string why_;
    std::vector<bool> busy_;       ///< last known, by detector
    std::vector<unsigned> looks_;  ///< busy ones in a row, by detector
    std::optional<std::chrono::nanoseconds> calm_since_;
};

/// Bytes of a machine's memory.
struct MemorySight {
    std::uint64_t available = 0;   ///< as the system says
    std::uint64_t bound = 0;       ///< that is to stay available
    std::uint64_t given_back = 0;  ///< by yielding: what would be taken again
    bool yielding = false;
};
/// Busy below the bound. While yielding there must be a quarter more than that, without what the
/// worker itself gave back, or it would come back only to go again.
Sight judge(const MemorySight& memory);

}  // namespace potluck::worker
