#include "engine/stage_drafter.h"

#include <algorithm>

namespace potluck::engine {

void RepeatDrafter::propose(std::span<const TokenId> tokens, TokenId next,
                            std::vector<TokenLogprob>& out) const {
    const auto last = std::find(tokens.rbegin(), tokens.rend(), next);
    const auto n = std::min<std::ptrdiff_t>(
        last - tokens.rbegin(), static_cast<std::ptrdiff_t>(std::min(most_, kMostProposed)));
    if (last == tokens.rend()) return;
    for (auto token = last.base(); token != last.base() + n; ++token)
        out.push_back({*token, 0.F});
}

}  // namespace potluck::engine
