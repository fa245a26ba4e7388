#pragma once

// Text to token ids and back, from the vocabulary inside a GGUF file: byte-level BPE ("gpt2") and
// the SentencePiece-like "llama" kind (SPM).

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/gguf/gguf.h"

namespace potluck::model {

enum class TokenKind : std::uint8_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6,
};

/// A piece of text to encode. Text that a user wrote must not be able to close a turn: only pieces
/// with `parse_special` may become control tokens (user-defined tokens are matched in both).
struct TextPiece {
    std::string_view text;
    bool parse_special = false;
};

/// Immutable after load; safe to use from any thread.
class Tokenizer {
  public:
    /// Errors name the key; a tokenizer model or pre-tokenizer that is not supported is refused by
    /// name with the list of those that are.
    static Result<std::shared_ptr<const Tokenizer>> load(const gguf::Gguf& file);
    ~Tokenizer();

    /// `add_special`: put BOS (and EOS) where the file asks for it.
    std::vector<TokenId> encode(std::string_view text, bool add_special, bool parse_special) const;
    std::vector<TokenId> encode(std::span<const TextPiece> pieces, bool add_special) const;

    /// The bytes of one token; may be part of a character. Control and unknown tokens are empty
    /// unless `special`. An id outside the vocabulary gives nothing.
    std::string piece(TokenId id, bool special = false) const;
    /// The text of a whole sequence; invalid UTF-8 becomes U+FFFD.
    std::string decode(std::span<const TokenId> ids, bool special = false) const;

    std::size_t vocabulary_size() const;
    std::string_view text(TokenId id) const;  ///< as the file stores it
    TokenKind kind(TokenId id) const;
    std::optional<TokenId> find(std::string_view text) const;  ///< by the file's text
    std::optional<TokenId> bos() const;
    std::optional<TokenId> eos() const;
    bool adds_bos() const;
    /// Encoding puts a space before the first word, and decoding takes it away ("llama" only).
    bool adds_space_prefix() const;
    /// Tokens after which an answer ends (eos, eot, eom and what is known by its text).
    bool ends_generation(TokenId id) const;
    std::span<const TokenId> end_of_generation_tokens() const;
    std::string_view model_name() const;  ///< "gpt2" or "llama"
    std::string_view pre_name() const;    ///< the pre-tokenizer's name

    struct Impl;

  private:
    explicit Tokenizer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// Turns tokens into text as they come, never giving out half a character. One per answer, one
/// thread.
class StreamDecoder {
  public:
    explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool special = false);
    /// The text that became complete with this token; may be empty.
    std::string push(TokenId id);
    /// What was held back, with U+FFFD for an incomplete character. Call once at the end.
    std::string flush();

  private:
    std::shared_ptr<const Tokenizer> tokenizer_;
    std::string pending_;
    bool special_;
    bool first_ = true;
};

}  // namespace potluck::model
