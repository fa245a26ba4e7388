#pragma once

// A drafter that lives where tokens are sampled: what it proposes travels with the token to the
// coordinator (StepResult), which decides whether it is worth a try. Heads for multi-token
// prediction will be such; the one here only shows the way.
//
// Thread: the executor's.

#include <span>
#include <vector>

#include "base/batch.h"
#include "base/ids.h"

namespace potluck::engine {

class StageDrafter {
  public:
    virtual ~StageDrafter() = default;
    /// Appends what may come behind `tokens` (the whole sequence) and then `next`, which was
    /// sampled just now, with its probability's logarithm. At most kMostProposed.
    virtual void propose(std::span<const TokenId> tokens, TokenId next,
                         std::vector<TokenLogprob>& out) const = 0;

    static constexpr std::size_t kMostProposed = 64;
};

/// For tests: what followed the last time that the same token came.
class RepeatDrafter final : public StageDrafter {
  public:
    explicit RepeatDrafter(std::size_t most) : most_(most) {}
    void propose(std::span<const TokenId> tokens, TokenId next,
                 std::vector<TokenLogprob>& out) const override;

  private:
    std::size_t most_;
};

}  // namespace potluck::engine
