#include "worker/core/yield.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/byte_text.h"

namespace potluck::worker {

void Yield::on_look(std::chrono::nanoseconds now, const std::vector<Sight>& sights) {
    busy_.resize(sights.size());
    looks_.resize(sights.size());
    const unsigned needed = first_ ? 1 : options_.busy_looks;
    first_ = false;
    for (std::size_t i = 0; i < sights.size(); ++i) {
        const Sight& sight = sights[i];
        if (sight.verdict != Verdict::kUnknown) busy_[i] = sight.verdict == Verdict::kBusy;
        looks_[i] = sight.verdict == Verdict::kBusy ? looks_[i] + 1 : 0;
        if (yielding_ || looks_[i] < needed) continue;
        yielding_ = true;
        why_ = sight.detail;
    }
    if (!yielding_) return;
    if (std::ranges::find(busy_, true) != busy_.end()) {
        calm_since_.reset();
        return;
    }
    if (!calm_since_) calm_since_ = now;
    if (now - *calm_since_ < options_.calm) return;
    yielding_ = false;
    calm_since_.reset();
    why_.clear();
}

Sight judge(const MemorySight& memory) {
    const std::uint64_t left = memory.available - std::min(memory.available, memory.given_back);
    const std::uint64_t least = memory.yielding ? memory.bound + memory.bound / 4 : memory.bound;
    if (left >= least) return {};
    return {Verdict::kBusy, fmt::format("{} of memory available, less than {}",
                                        byte_text(memory.available), byte_text(memory.bound))};
}

}  // namespace potluck::worker
