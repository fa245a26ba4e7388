#pragma once

// What the tokenizer tests share: real vocabularies beside the checkout, and small ones made in
// memory.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "model/gguf/gguf.h"
#include "model/gguf/writer.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::model::test {

std::filesystem::path shared_path(const std::string& name);
/// Null if the file is not there; a file that does not load fails the test.
std::shared_ptr<const gguf::Gguf> open_shared(const std::string& name);
std::shared_ptr<const Tokenizer> load_shared(const std::string& name);

/// The texts of an .inp file and the ids of an .out file (one line per text).
std::vector<std::string> read_texts(const std::filesystem::path& path);
std::vector<std::vector<TokenId>> read_ids(const std::filesystem::path& path);

bool is_valid_utf8(std::string_view text);

/// A tokenizer from a file made in memory, which is gone when this returns.
Result<std::shared_ptr<const Tokenizer>> load_made(
    const std::function<void(gguf::GgufWriter&)>& fill);

/// A small vocabulary: its file has these and whatever `more` adds.
struct Made {
    std::string model = "gpt2";
    std::string pre = "qwen2";  ///< empty: no such key
    std::vector<std::string> tokens;
    std::vector<std::int32_t> kinds;
    std::vector<float> scores;
    std::vector<std::string> merges;
    std::function<void(gguf::GgufWriter&)> more = {};

    /// The 256 byte tokens of a BPE vocabulary, then "he", "ll", "llo", "hello".
    static Made bpe();
    /// <unk>, <s>, </s>, 256 byte tokens, and some letters and words with scores.
    static Made spm();
    TokenId add(const std::string& text, TokenKind kind, float score = 0);
    Result<std::shared_ptr<const Tokenizer>> load() const;
    /// Fails the test if it does not load.
    std::shared_ptr<const Tokenizer> must_load() const;
};

/// The text of `bytes` in the byte alphabet.
std::string in_alphabet(std::string_view bytes);

/// The pieces that `ends` cut `text` into.
std::vector<std::string> pieces_of(std::string_view text, const std::vector<std::size_t>& ends);

}  // namespace potluck::model::test
