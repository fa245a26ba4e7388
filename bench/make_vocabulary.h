#pragma once

// A made-up vocabulary of any size: byte-level BPE whose words are chains of syllables.

#include <cstdint>

#include "model/gguf/writer.h"

namespace potluck::bench {

inline constexpr std::uint32_t kSpecialTokens = 293;  ///< as many as Qwen3 has, at the end
inline constexpr std::uint32_t kSmallestVocabulary = 256 + kSpecialTokens;  ///< no merges

/// Adds the `tokenizer.` keys: 256 bytes, one token per merge, then the special tokens: end of
/// text, the two marks of ChatML, and unused ones. `size` is at least kSmallestVocabulary; there
/// are some 490,000 words to fill it with.
void add_vocabulary(model::gguf::GgufWriter& writer, std::uint32_t size);

}  // namespace potluck::bench
