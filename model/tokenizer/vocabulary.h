#pragma once

// What a GGUF file says about its tokens, checked, before any algorithm is chosen.

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/gguf/gguf.h"
#include "model/tokenizer/pretokenizer.h"
#include "model/tokenizer/special_tokens.h"
#include "model/tokenizer/token_texts.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::model {

enum class VocabularyModel : std::uint8_t { kBpe, kSpm };

struct Vocabulary {
    VocabularyModel model = VocabularyModel::kBpe;
    std::string model_name;
    std::string pre_name;
    PreTokenizer pre;
    TokenTexts texts;
    std::vector<TokenKind> kinds;
    std::vector<float> scores;  ///< kSpm only
    std::optional<TokenId> bos, eos, unknown;
    bool adds_bos = false;
    bool adds_eos = false;
    bool adds_space_prefix = false;          ///< kSpm only
    std::vector<TokenId> end_of_generation;  ///< ascending
    std::vector<bool> ends_generation;       ///< the same, by id

    TokenKind kind(std::uint32_t id) const { return kinds[id]; }
    /// Whether merging may make a token: never a control, unknown or byte token.
    std::vector<bool> plain() const;
};

Result<Vocabulary> read_vocabulary(const gguf::Gguf& file);

/// The tokens whose text is looked for before anything else. The texts point into `vocabulary`.
std::vector<SpecialToken> special_tokens(const Vocabulary& vocabulary, const gguf::Gguf& file);

/// Byte tokens by byte, -1 where there is none.
std::array<TokenId, 256> byte_tokens(const Vocabulary& vocabulary);

}  // namespace potluck::model
