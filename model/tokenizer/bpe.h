#pragma once

// Byte-level byte-pair encoding: pieces of text to token ids.
// Sennrich et al., "Neural machine translation of rare words with subword units" (ACL 2016); the
// byte alphabet is that of GPT-2.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/tokenizer/piece_cache.h"
#include "model/tokenizer/token_texts.h"

namespace potluck::model {

/// The printable character that stands for each byte in vocabularies and merges.
char32_t byte_to_alphabet(unsigned char byte);
/// The byte that a character of the alphabet stands for, or -1.
int alphabet_to_byte(char32_t code);

/// The merges of a vocabulary as a table from pairs of symbols to their rank. A symbol is a token
/// id or, for texts that merges name but the vocabulary lacks, a number from the vocabulary's size
/// up.
class BpeModel {
  public:
    static constexpr std::uint32_t kNone = 0xFFFFFFFF;
    struct Merge {
        std::uint32_t rank = kNone;
        std::uint32_t merged = kNone;
    };

    /// `plain[id]`: the token may come out of merging. Control tokens may not: whatever a user
    /// writes must not become one.
    static Result<BpeModel> build(const TokenTexts& texts, const std::vector<bool>& plain,
                                  std::span<const std::string_view> merges, bool ignore_merges);

    std::uint32_t byte_symbol(unsigned char byte) const { return byte_symbols_[byte]; }
    bool is_token(std::uint32_t symbol) const { return symbol < token_count_; }
    bool is_plain(std::uint32_t token) const { return plain_[token]; }
    bool ignores_merges() const { return ignore_merges_; }
    Merge find(std::uint32_t left, std::uint32_t right) const;
    std::uint32_t merged(std::uint32_t rank) const { return merged_[rank]; }

  private:
    struct Slot {
        std::uint64_t pair = ~std::uint64_t{0};  ///< left << 32 | right
        Merge merge;
    };
    static std::uint64_t hash_pair(std::uint64_t pair) {
        pair *= 0x9E3779B97F4A7C15;
        return pair ^ (pair >> 32);
    }
    void insert(std::uint32_t left, std::uint32_t right, Merge merge);

    std::uint32_t token_count_ = 0;
    bool ignore_merges_ = false;
    std::vector<bool> plain_;
    std::array<std::uint32_t, 256> byte_symbols_{};
    std::vector<std::uint32_t> merged_;  ///< by rank
    std::vector<Slot> slots_;
    std::uint64_t mask_ = 0;
};

/// Encodes the pieces of one call; holds the scratch memory and the cache. Time per piece of n
/// bytes is O(n log n).
class BpeEncoder {
  public:
    /// What was done, for tests: a bound on it is a bound on time.
    struct Work {
        std::uint64_t queue_operations = 0;
        std::uint64_t pair_lookups = 0;
        std::uint64_t cached_pieces = 0;
    };

    BpeEncoder(const BpeModel& model, const TokenTexts& texts, std::size_t text_bytes)
        : model_(model), texts_(texts), cache_(text_bytes) {}

    void encode(std::string_view piece, std::vector<TokenId>& out);
    const Work& work() const { return work_; }

  private:
    bool encode_whole(std::string_view piece, std::vector<TokenId>& out);
    void merge_short(std::string_view piece, std::vector<TokenId>& out);
    void merge_long(std::string_view piece, std::vector<TokenId>& out);
    void push_pair(std::uint32_t left, std::vector<std::uint64_t>& queue);
    void emit(std::uint32_t symbol, std::string_view bytes, std::vector<TokenId>& out) const;
    BpeModel::Merge find(std::uint32_t left, std::uint32_t right);

    /// A symbol of a long piece, at the index of its first byte.
    struct Symbol {
        std::uint32_t id = 0;
        std::uint32_t previous = BpeModel::kNone;
        std::uint32_t next = BpeModel::kNone;
        std::uint32_t rank = BpeModel::kNone;  ///< of the pair (this, next)
    };

    const BpeModel& model_;
    const TokenTexts& texts_;
    PieceCache cache_;
    std::string mapped_;
    std::vector<Symbol> symbols_;
    std::vector<std::uint64_t> queue_;
    Work work_;
};

}  // namespace potluck::model
