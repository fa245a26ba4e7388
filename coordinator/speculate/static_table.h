#pragma once

// What usually follows two tokens, counted once over a body of text and kept in a file: the third
// place where the drafter ngram_cache looks. It holds pairs that came at least twice and of whose
// successors one makes up at least half; nothing rarer would ever draft.
//
// The file, all numbers little-endian:
//
//      0  8 bytes  "PLKNGRAM"
//      8  u32      version, 1
//     12  u32      tokens of the vocabulary
//     16  u64      its fingerprint (model/tokenizer/same_vocabulary.h)
//     24  u64      entries, at most kMostEntries
//     32  u64      sum over the bytes of all entries (FNV-1a)
//     40  entries of 20 bytes, ascending by pair: i32 first, i32 second, i32 next,
//         u32 times that it came next, u32 times that the pair had a next one
//
// A table is read whole and checked whole: sizes, sum, order, ids within the vocabulary, counts
// that fit one another. It is nobody's text in particular, so all tenants share it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace potluck::coordinator {

/// The vocabulary whose ids a table holds.
struct VocabularyId {
    std::uint32_t size = 0;
    std::uint64_t fingerprint = 0;
};

class StaticTable {
  public:
    static constexpr std::size_t kMostEntries = std::size_t{1} << 24;
    static constexpr std::size_t kMostTokens = std::size_t{1} << 26;  ///< of the texts together
    static constexpr std::uint32_t kLeastSamples = 2;
    static constexpr double kLeastShare = 0.5;

    /// Counts texts; a pair's successor is in the same text. kInvalidArgument for ids outside the
    /// vocabulary and for more than kMostTokens; kResourceExhausted for more than kMostEntries.
    static Result<StaticTable> make(std::span<const std::vector<TokenId>> texts,
                                    const VocabularyId& vocabulary);
    /// kCorrupt: no such file, or a damaged one. kUnsupported: another version.
    /// kInvalidArgument: of another vocabulary.
    static Result<StaticTable> parse(std::span<const std::byte> file,
                                     const VocabularyId& vocabulary);
    std::string to_bytes() const;

    struct Best {
        TokenId token = 0;
        std::uint32_t count = 0;
        std::uint32_t total = 0;
    };
    std::optional<Best> best(TokenId first, TokenId second) const;
    std::size_t size() const { return keys_.size(); }

  private:
    explicit StaticTable(const VocabularyId& vocabulary) : vocabulary_(vocabulary) {}

    VocabularyId vocabulary_;
    std::vector<std::uint64_t> keys_;  ///< ascending; first above second
    std::vector<Best> bests_;          ///< by key
};

}  // namespace potluck::coordinator
