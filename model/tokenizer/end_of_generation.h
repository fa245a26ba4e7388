#pragma once

// Which tokens end an answer.

#include <optional>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "model/gguf/gguf.h"

namespace potluck::model {

struct Vocabulary;

/// A token id from the metadata; nothing if the key is absent or, with a warning, if the id is
/// outside the vocabulary (writers put -1 there for "none").
Result<std::optional<TokenId>> read_token_id(const gguf::Gguf& file, std::string_view key,
                                             std::uint32_t token_count);

/// Fills `end_of_generation` and `ends_generation`; tokens known by their text become control
/// tokens, even if the file has them otherwise: no text of a user may end a turn.
Status find_end_of_generation(const gguf::Gguf& file, Vocabulary& vocabulary);

}  // namespace potluck::model
