#pragma once

// Finds the texts of special tokens in a text. Longer texts go first, wherever they stand; among
// equally long ones the lower id; each from left to right. What an earlier one took is not looked
// at again.
//
// One pass of an Aho-Corasick automaton gives, for each position, the texts that end there (Aho and
// Corasick, "Efficient string matching", CACM 1975); time is linear in the text but for a sort of
// the places that compete.

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace potluck::model {

struct SpecialToken {
    TokenId id = 0;
    std::string_view text;      ///< only needed during build
    bool always = false;        ///< also without parse_special (user-defined)
    bool strips_left = false;   ///< swallows white space before it
    bool strips_right = false;  ///< swallows white space after it
};

class SpecialTokens {
  public:
    struct Match {
        std::size_t begin = 0;  ///< includes what was swallowed
        std::size_t end = 0;
        TokenId id = 0;
    };

    SpecialTokens() = default;
    explicit SpecialTokens(std::span<const SpecialToken> tokens);

    /// Replaces `matches` with those in `text`, in order. `work`, if given, counts steps.
    void find(std::string_view text, bool parse_special, std::vector<Match>& matches,
              std::uint64_t* work = nullptr) const;

  private:
    static constexpr std::uint32_t kNone = 0xFFFFFFFF;
    struct Entry {
        TokenId id = 0;
        std::uint32_t size = 0;   ///< bytes
        std::uint32_t place = 0;  ///< of its size among all sizes, longest first
        bool always = false;
        bool strips_left = false;
        bool strips_right = false;
    };
    struct Node {
        std::uint32_t first_child = kNone;
        std::uint32_t next_sibling = kNone;
        std::uint32_t failure = 0;
        std::uint32_t entry = kNone;    ///< the token that ends here
        std::uint32_t shorter = kNone;  ///< the longest proper suffix with a token
        std::uint32_t always = kNone;   ///< itself or the longest suffix with an `always` token
        unsigned char byte = 0;
    };
    /// A place where tokens end; `node` is the longest one still to be tried.
    struct Place {
        std::size_t end = 0;
        std::uint32_t node = 0;
    };

    std::uint32_t child(std::uint32_t node, unsigned char byte) const;
    void add(std::uint32_t entry, std::string_view text);
    void link();
    void rank_sizes();
    std::uint32_t step(std::uint32_t node, unsigned char byte, std::uint64_t& steps) const;
    /// `node` or the longest of its suffixes that ends an allowed token.
    std::uint32_t allowed(std::uint32_t node, bool parse_special) const;
    std::vector<Place> places(std::string_view text, bool parse_special,
                              std::uint64_t& steps) const;

    std::vector<Entry> entries_;
    std::vector<Node> nodes_{Node{}};
    std::array<std::uint32_t, 256> roots_{};  ///< children of the root by byte; 0: none
    std::size_t distinct_sizes_ = 0;
    bool any_always_ = false;
};

}  // namespace potluck::model
