#pragma once

// Cuts text into the pieces that byte-level BPE may not merge across. Each family is a hand-written
// scanner for the regular expressions of its models: linear time, no recursion.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace potluck::model {

/// One set of expressions; several names in files share one.
enum class PreFamily : std::uint8_t {
    kLlama3,
    kQwen2,
    kQwen35,
    kGpt2,
    kDigits1,
    kGpt4o,
    kTekken,
    kDeepseekV3,
    kDeepseekLlm,
    kDeepseekCoder,
    kFalcon,
    kDefault,
};

/// A value of `tokenizer.ggml.pre` and what it implies.
struct PreTokenizer {
    std::string_view name;
    PreFamily family = PreFamily::kDefault;
    bool adds_bos = false;        ///< unless the file says otherwise
    bool ignores_merges = false;  ///< a piece that is a token is taken whole
};

/// All names that are supported, by family.
std::span<const PreTokenizer> supported_pre_tokenizers();
const PreTokenizer* find_pre_tokenizer(std::string_view name);
/// "llama-bpe, llama3, ..."
std::string supported_pre_tokenizer_names();

/// Appends the end of each piece of `text` (valid UTF-8) to `ends`; the first piece starts at 0,
/// the last ends at text.size(), none is empty. `scratch` only saves allocations between calls.
void split_pieces(PreFamily family, std::string_view text, std::vector<std::size_t>& ends,
                  std::vector<std::size_t>& scratch);

}  // namespace potluck::model
