#include "bench/make_vocabulary.h"

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "model/tokenizer/bpe.h"
#include "model/tokenizer/tokenizer.h"
#include "model/tokenizer/unicode.h"

namespace potluck::bench {
namespace {

using model::TokenKind;
using Texts = std::vector<std::string>;

constexpr std::string_view kChatTemplate =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

std::string letter_of(unsigned char byte) {
    std::string text;
    model::unicode::append_utf8(text, model::byte_to_alphabet(byte));
    return text;
}

/// Merges until there are enough. In every step both parts are made by earlier ones, or letters.
class MergeList {
  public:
    explicit MergeList(std::size_t wanted) : wanted_(wanted) {
        merges.reserve(wanted);
        texts.reserve(wanted);
    }

    /// Joins `left` and `right`; what they give is added to `joined` too.
    void join(const std::string& left, const std::string& right, Texts& joined) {
        if (full()) return;
        joined.push_back(left + right);
        texts.push_back(joined.back());
        merges.push_back(left + " " + right);
    }
    Texts join_all(const Texts& lefts, const Texts& rights) {
        Texts joined;
        for (const auto& left : lefts)
            for (const auto& right : rights)
                join(left, right, joined);
        return joined;
    }
    /// The same pairs in an order that mixes the beginnings, for when only some of them fit.
    void join_mixed(const Texts& lefts, const Texts& rights) {
        constexpr std::size_t kStride = 100003;  // a prime that divides no number of pairs here
        const std::size_t pairs = lefts.size() * rights.size();
        Texts joined;
        for (std::size_t i = 0; i < pairs && !full(); ++i) {
            const std::size_t pair = i * kStride % pairs;
            join(lefts[pair / rights.size()], rights[pair % rights.size()], joined);
        }
    }
    bool full() const { return merges.size() >= wanted_; }

    Texts merges;  ///< "left right", by rank
    Texts texts;   ///< what each gives

  private:
    std::size_t wanted_;
};

/// Consonant and vowel join first, so that words fall into syllables whatever stands around them;
/// longer tokens are then made of syllables, and each can be reached from its own text.
MergeList make_merges(std::size_t wanted) {
    Texts consonants, vowels;
    for (char c = 'a'; c <= 'z'; ++c) {
        const bool vowel = std::string_view("aeiou").find(c) != std::string_view::npos;
        (vowel ? vowels : consonants).emplace_back(1, c);
    }
    const Texts space{letter_of(' ')};
    MergeList list(wanted);
    const Texts open = list.join_all(consonants, vowels);
    list.join_all(vowels, consonants);
    const Texts spaced = list.join_all(space, open);
    list.join_all(space, consonants);
    list.join_all(space, vowels);
    const Texts closed = list.join_all(open, consonants);
    list.join_all(spaced, consonants);
    list.join_all(open, open);
    list.join_all(spaced, open);
    list.join_mixed(open, closed);
    list.join_mixed(spaced, closed);
    POTLUCK_CHECK(list.full());
    return list;
}

}  // namespace

void add_vocabulary(model::gguf::GgufWriter& writer, std::uint32_t size) {
    POTLUCK_CHECK(size >= kSmallestVocabulary);
    Texts tokens;
    tokens.reserve(size);
    for (unsigned byte = 0; byte < 256; ++byte)
        tokens.push_back(letter_of(static_cast<unsigned char>(byte)));
    MergeList list = make_merges(size - kSmallestVocabulary);
    for (auto& text : list.texts)
        tokens.push_back(std::move(text));

    const auto end_of_text = static_cast<std::uint32_t>(tokens.size());
    std::vector<std::int32_t> kinds(end_of_text, static_cast<std::int32_t>(TokenKind::kNormal));
    for (const auto* text : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
        tokens.emplace_back(text);
        kinds.push_back(static_cast<std::int32_t>(TokenKind::kControl));
    }
    while (tokens.size() < size) {
        tokens.push_back("[PAD" + std::to_string(tokens.size()) + "]");
        kinds.push_back(static_cast<std::int32_t>(TokenKind::kUnused));
    }
    writer.add("tokenizer.ggml.model", std::string("gpt2"));
    writer.add("tokenizer.ggml.pre", std::string("qwen2"));
    writer.add("tokenizer.ggml.tokens", std::move(tokens));
    writer.add("tokenizer.ggml.token_type", std::move(kinds));
    writer.add("tokenizer.ggml.merges", std::move(list.merges));
    writer.add("tokenizer.ggml.bos_token_id", end_of_text);
    writer.add("tokenizer.ggml.eos_token_id", end_of_text + 2);
    writer.add("tokenizer.ggml.padding_token_id", end_of_text);
    writer.add("tokenizer.ggml.add_bos_token", false);
    writer.add("tokenizer.chat_template", std::string(kChatTemplate));
}

}  // namespace potluck::bench
