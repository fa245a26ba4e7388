#pragma once

// When drafters are asked. While nothing that they say is worth a try they are asked the less often
// the longer that lasts: after kTries in vain at every second token, then at every fourth, up to
// one in kMostBetween. What wakes at once is evidence that has come to kWakes tokens and to twice
// what was there at the last try in vain: a copy is seen at its first tokens, while a copy that
// does not pay is looked at only as often as its length doubles.

#include <algorithm>
#include <cstdint>

namespace potluck::coordinator {

class Attention {
  public:
    static constexpr std::uint32_t kTries = 8;
    static constexpr std::uint64_t kMostBetween = 64;
    static constexpr std::uint32_t kWakes = 5;

    /// `position`: certain tokens so far; `strength`: the most that a drafter has to say.
    bool looks(std::uint64_t position, std::uint32_t strength) {
        in_vain_at_ = std::min(in_vain_at_, strength);
        return position >= next_ || strength >= std::max(kWakes, 2 * in_vain_at_);
    }
    void in_vain(std::uint64_t position, std::uint32_t strength) {
        const std::uint32_t doublings = std::min(in_vain_++ / kTries, 16U);
        next_ = position + std::min(std::uint64_t{1} << doublings, kMostBetween);
        in_vain_at_ = strength;
    }
    void hit() { *this = {}; }

  private:
    std::uint32_t in_vain_ = 0;     ///< tries since the last draft
    std::uint64_t next_ = 0;        ///< position of the next one
    std::uint32_t in_vain_at_ = 0;  ///< strength at the last one, or less since
};

}  // namespace potluck::coordinator
