#pragma once

// What one tenant's sequences said before: two automata, one that fills and the one before it. When
// the one is full the other is forgotten, so the pool holds between kTokens and twice as many of
// the newest tokens and never more (about 100 bytes each).

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ids.h"
#include "coordinator/speculate/suffix_automaton.h"

namespace potluck::coordinator {

class PastOutputs {
  public:
    static constexpr std::size_t kTokens = std::size_t{1} << 15;
    /// Stands between texts and in none.
    static constexpr TokenId kBorder = -1;

    /// One answer, with the end of its prompt before it. Longer than kTokens: its beginning.
    void add(std::span<const TokenId> text);

    /// A sequence's place in both automata.
    struct Place {
        std::array<SuffixAutomaton::Walk, 2> walks;
        std::uint64_t generation = 0;
    };
    void step(Place& place, TokenId token) const;
    std::uint32_t length(const Place& place) const;
    /// Appends what followed the longest match, at most `most` tokens.
    void draft(const Place& place, std::size_t most, std::vector<TokenId>& out) const;
    std::size_t tokens() const;

  private:
    std::size_t best(const Place& place) const;

    std::array<std::unique_ptr<SuffixAutomaton>, 2> texts_;  ///< [0] fills, [1] is older
    std::uint64_t generation_ = 0;
};

}  // namespace potluck::coordinator
