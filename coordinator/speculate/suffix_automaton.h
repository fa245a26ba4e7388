#pragma once

// An online suffix automaton: a text grows token by token, and at every moment it is known which is
// the longest end of the text that has stood in it before, and where. Blumer et al., "The smallest
// automaton recognizing the subwords of a text" (1985); its use for drafts: Hu et al., SAM Decoding
// (arXiv 2411.10666).
//
// An append costs amortised O(1) states and, where a state is split, a copy of its few successors.
// Memory: at most 2 states and 3 edges per token, about 100 bytes; kMostTokens bounds it.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"

namespace potluck::coordinator {

class SuffixAutomaton {
  public:
    static constexpr std::size_t kMostTokens = std::size_t{1} << 17;

    /// The longest end of some text that occurs in the automaton's: how long, and the index behind
    /// one occurrence of it (a late one, not always the last). Length 0: none.
    struct Match {
        std::uint32_t length = 0;
        std::uint32_t next = 0;
    };
    /// A place in the automaton while it reads some other text.
    struct Walk {
        std::uint32_t state = 0;
        std::uint32_t length = 0;
    };

    SuffixAutomaton();

    /// Ignored once full().
    void append(TokenId token);
    bool full() const { return text_.size() >= kMostTokens; }
    std::span<const TokenId> text() const { return text_; }

    /// Of the text's own end, in what stood before it: next < text().size().
    Match match() const { return match_; }
    /// The place of match(), from where to read on.
    Walk here() const;
    /// Reads a token: `walk` becomes the longest end of what was read that occurs in the text.
    void step(Walk& walk, TokenId token) const;
    Match at(const Walk& walk) const { return {walk.length, states_[walk.state].next}; }

    std::size_t bytes() const;

  private:
    static constexpr std::uint32_t kNone = 0xFFFFFFFF;
    /// Late occurrences are noted for this many shorter ends of the text per token.
    static constexpr int kRefreshed = 16;

    struct State {
        std::uint32_t link = kNone;
        std::uint32_t length = 0;
        std::uint32_t next = 0;  ///< index behind an occurrence
        std::uint32_t edges = kNone;
    };
    struct Edge {
        std::uint32_t from = 0;
        TokenId token = 0;
        std::uint32_t to = 0;
        std::uint32_t other = kNone;  ///< the next edge of the same state
    };

    std::uint32_t find(std::uint32_t from, TokenId token) const;
    void connect(std::uint32_t from, TokenId token, std::uint32_t to);
    std::uint32_t split(std::uint32_t from, TokenId token, std::uint32_t to);
    void grow_index();

    std::vector<TokenId> text_;
    std::vector<State> states_;
    std::vector<Edge> edges_;
    std::vector<std::uint32_t> index_;  ///< (from, token) -> edge; open addressing
    std::uint32_t last_ = 0;
    Match match_;
};

}  // namespace potluck::coordinator
