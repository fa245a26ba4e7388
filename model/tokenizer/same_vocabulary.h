#pragma once

// Whether token ids of one model mean the same to another.

#include <cstdint>

#include "base/result.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::model {

/// Ids that one of two vocabularies of one family may have beyond the other's: files of a family
/// pad theirs differently.
inline constexpr std::size_t kMostPadding = 128;

/// kInvalidArgument, naming the first difference, unless `other` has the same kind of vocabulary,
/// the same text at every id that both have, and a size that differs by kMostPadding at most. What
/// tokens a text begins or ends with is not compared: who is given ids needs neither.
Status check_same_vocabulary(const Tokenizer& model, const Tokenizer& other);

/// 64 bits of kind, size and all texts: tells vocabularies apart, across machines and builds.
std::uint64_t vocabulary_fingerprint(const Tokenizer& tokenizer);

}  // namespace potluck::model
