#pragma once

// The SentencePiece-like tokenizer of "llama" vocabularies: adjacent symbols are merged while the
// result is a token, highest score first; characters without a token become byte tokens. Kudo and
// Richardson, "SentencePiece" (EMNLP 2018), its BPE mode.

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/tokenizer/piece_cache.h"
#include "model/tokenizer/token_texts.h"

namespace potluck::model {

/// Stands for ' ' in the vocabulary: U+2581.
inline constexpr std::string_view kSpmSpace = "\xE2\x96\x81";

/// Reads "<0xHH>", exactly two hexadecimal digits.
std::optional<unsigned char> parse_byte_token(std::string_view text);

class SpmModel {
  public:
    static constexpr TokenId kNone = -1;

    /// `plain[id]`: the token may come out of merging (control and byte tokens may not).
    /// `bytes[b]`: the token of byte b, or kNone; `unknown` stands in for missing ones, if there is
    /// one.
    static SpmModel build(const TokenTexts& texts, std::vector<bool> plain,
                          std::vector<float> scores, const std::array<TokenId, 256>& bytes,
                          TokenId unknown);

    /// The token with that text that merging may make, or kNone.
    TokenId find(const TokenTexts& texts, std::string_view text) const;
    float score(TokenId id) const { return scores_[static_cast<std::size_t>(id)]; }
    TokenId byte_token(unsigned char byte) const { return bytes_[byte]; }
    TokenId unknown() const { return unknown_; }
    /// No token has a space after something else, so that nothing merges across the start of a
    /// word.
    bool splits_at_spaces() const { return splits_at_spaces_; }

  private:
    std::vector<bool> plain_;
    std::vector<float> scores_;
    std::array<TokenId, 256> bytes_{};
    TokenId unknown_ = kNone;
    std::size_t longest_ = 0;
    bool splits_at_spaces_ = false;
};

/// Encodes the text of one call; O(n log n).
class SpmEncoder {
  public:
    struct Work {
        std::uint64_t queue_operations = 0;
        std::uint64_t lookups = 0;
    };

    SpmEncoder(const SpmModel& model, const TokenTexts& texts, std::size_t text_bytes)
        : model_(model), texts_(texts), cache_(text_bytes) {}

    /// `text` is valid UTF-8 with every ' ' already replaced by kSpmSpace.
    void encode(std::string_view text, std::vector<TokenId>& out);
    const Work& work() const { return work_; }

  private:
    struct Symbol {
        std::uint32_t begin = 0;
        std::uint32_t size = 0;  ///< 0: merged into the one before
        std::int32_t previous = -1;
        std::int32_t next = -1;
        TokenId token = SpmModel::kNone;
    };
    struct Candidate {
        float score = 0;
        std::int32_t left = 0;
        std::uint32_t size = 0;  ///< of both together; another size means that the entry is stale
        TokenId token = SpmModel::kNone;

        /// Order of a heap whose top is the best: highest score, ties leftmost.
        friend bool operator<(const Candidate& a, const Candidate& b) {
            return a.score < b.score || (a.score == b.score && a.left > b.left);
        }
    };

    void encode_word(std::string_view word, std::vector<TokenId>& out);
    void add_candidate(std::string_view word, std::int32_t left);
    void emit(std::string_view text, TokenId token, std::vector<TokenId>& out);

    const SpmModel& model_;
    const TokenTexts& texts_;
    PieceCache cache_;
    std::vector<Symbol> symbols_;
    std::vector<Candidate> queue_;
    Work work_;
};

}  // namespace potluck::model
