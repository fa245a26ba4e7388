#pragma once

// Follows a text that is being copied from an earlier place of the same sequence, over changes.
//
// A suffix match breaks at every changed word: behind it stand only tokens that never came together
// before. The cursor remembers where in the source the copy was, looks in the tokens just behind
// that place for the one at which the copy goes on, and so learns what was put for what ("rename
// `a` to `b`"). The next time that it meets the same tokens in the source it drafts their
// replacement. All O(1) per token: every search has a bound.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "coordinator/speculate/suffix_automaton.h"

namespace potluck::coordinator {

class CopyCursor {
  public:
    static constexpr std::size_t kReach = 24;       ///< tokens behind the break that are searched
    static constexpr std::size_t kLongestSwap = 8;  ///< tokens of a replacement, on either side
    static constexpr std::size_t kMostSwaps = 16;

    /// `text` grew by one token; `match` is of its new end.
    void observe(std::span<const TokenId> text, SuffixAutomaton::Match match);
    /// Appends what comes next by the cursor, at most `most` tokens; nothing if it is lost.
    void draft(std::span<const TokenId> text, std::size_t most, std::vector<TokenId>& out) const;

    bool follows() const { return state_ == State::kFollows; }
    /// Tokens in a row that were as the cursor said, the match with which it began among them.
    std::uint32_t evidence() const { return evidence_; }
    /// Whether it goes on behind a change, not by an unbroken match.
    bool recovered() const { return recovered_; }

  private:
    enum class State : std::uint8_t { kIdle, kFollows, kLost };
    /// `from` was replaced by `to`.
    struct Swap {
        std::vector<TokenId> from, to;
    };

    void follow(std::span<const TokenId> text);
    void lose(std::span<const TokenId> text);
    void recover(std::span<const TokenId> text);
    void learn(std::span<const TokenId> from, std::span<const TokenId> to);
    /// The longest swap whose `from` stands at `source`, or -1.
    int swap_at(std::span<const TokenId> text, std::size_t source) const;

    State state_ = State::kIdle;
    bool recovered_ = false;
    std::uint32_t evidence_ = 0;
    std::size_t source_ = 0;  ///< of the next token; while lost: of the first that did not come
    std::size_t since_ = 0;   ///< while lost: the first token of the text that came instead
    std::vector<Swap> swaps_;
    int swap_ = -1;            ///< in the middle of this one
    std::size_t in_swap_ = 0;  ///< tokens of its `to` that came
};

}  // namespace potluck::coordinator
