#include "tests/unit/tokenizer/support.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "model/tokenizer/bpe.h"
#include "model/tokenizer/unicode.h"

namespace potluck::model::test {

std::filesystem::path shared_path(const std::string& name) {
    return std::filesystem::path(POTLUCK_SOURCE_DIR) / ".." / "shared" / name;
}

std::shared_ptr<const gguf::Gguf> open_shared(const std::string& name) {
    const auto path = shared_path(name);
    if (!std::filesystem::exists(path)) return nullptr;
    auto file = gguf::Gguf::open(path);
    if (!file) {
        ADD_FAILURE() << file.error().message;
        return nullptr;
    }
    return *file;
}

std::shared_ptr<const Tokenizer> load_shared(const std::string& name) {
    const auto file = open_shared(name);
    if (!file) return nullptr;
    auto tokenizer = Tokenizer::load(*file);
    if (!tokenizer) {
        ADD_FAILURE() << tokenizer.error().message;
        return nullptr;
    }
    return *tokenizer;  // the file closes here: the tokenizer must own what it needs
}

std::vector<std::string> read_texts(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    const std::string all((std::istreambuf_iterator<char>(in)), {});
    const std::string separator = "\n__ggml_vocab_test__\n";
    std::vector<std::string> texts;
    std::size_t pos = 0;
    for (;;) {
        const std::size_t stop = all.find(separator, pos);
        if (stop == std::string::npos) break;
        texts.push_back(all.substr(pos, stop - pos));
        pos = stop + separator.size();
    }
    if (pos < all.size()) texts.push_back(all.substr(pos));
    return texts;
}

std::vector<std::vector<TokenId>> read_ids(const std::filesystem::path& path) {
    std::ifstream in(path);
    std::vector<std::vector<TokenId>> result;
    for (std::string line; std::getline(in, line);) {
        std::istringstream numbers(line);
        result.emplace_back(std::istream_iterator<TokenId>(numbers),
                            std::istream_iterator<TokenId>());
    }
    return result;
}

bool is_valid_utf8(std::string_view text) {
    for (std::size_t pos = 0; pos < text.size();) {
        const std::size_t size = unicode::valid_length(text, pos);
        if (size == 0) return false;
        pos += size;
    }
    return true;
}

Result<std::shared_ptr<const Tokenizer>> load_made(
    const std::function<void(gguf::GgufWriter&)>& fill) {
    gguf::GgufWriter writer;
    fill(writer);
    POTLUCK_ASSIGN(const std::vector<std::byte> bytes, writer.to_bytes());
    POTLUCK_ASSIGN(const auto file, gguf::Gguf::parse(bytes, "made"));
    return Tokenizer::load(*file);
}

std::string in_alphabet(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
        unicode::append_utf8(text, byte_to_alphabet(static_cast<unsigned char>(c)));
    }
    return text;
}

Made Made::bpe() {
    Made made;
    for (int byte = 0; byte < 256; ++byte) {
        made.add(in_alphabet(std::string(1, static_cast<char>(byte))), TokenKind::kNormal);
    }
    for (const char* text : {"he", "ll", "llo", "hello"}) {
        made.add(text, TokenKind::kNormal);
    }
    made.merges = {"h e", "l l", "ll o", "he llo"};
    return made;
}

Made Made::spm() {
    Made made;
    made.model = "llama";
    made.pre = "default";
    made.add("<unk>", TokenKind::kUnknown);
    made.add("<s>", TokenKind::kControl);
    made.add("</s>", TokenKind::kControl);
    for (int byte = 0; byte < 256; ++byte) {
        made.add(fmt::format("<0x{:02X}>", byte), TokenKind::kByte);
    }
    float score = -100;
    for (const char* text : {"a", "b", "c", "s", "/", "<", ">", "\xE2\x96\x81", "\xC3\xA9"}) {
        made.add(text, TokenKind::kNormal, score--);
    }
    made.add("ab", TokenKind::kNormal, -2);
    made.add("bc", TokenKind::kNormal, -1);
    made.add(
        "\xE2\x96\x81"
        "a",
        TokenKind::kNormal, -3);
    made.add(
        "\xE2\x96\x81"
        "ab",
        TokenKind::kNormal, -4);
    made.add("\xE2\x96\x81\xE2\x96\x81", TokenKind::kNormal, -5);
    made.add("<s", TokenKind::kNormal, -6);
    return made;
}

TokenId Made::add(const std::string& text, TokenKind kind, float score) {
    tokens.push_back(text);
    kinds.push_back(static_cast<std::int32_t>(kind));
    scores.push_back(score);
    return static_cast<TokenId>(tokens.size() - 1);
}

Result<std::shared_ptr<const Tokenizer>> Made::load() const {
    return load_made([&](gguf::GgufWriter& writer) {
        writer.add("general.architecture", std::string("test"));
        writer.add("tokenizer.ggml.model", model);
        if (!pre.empty()) writer.add("tokenizer.ggml.pre", pre);
        writer.add("tokenizer.ggml.tokens", tokens);
        writer.add("tokenizer.ggml.token_type", kinds);
        if (model == "llama") {
            writer.add("tokenizer.ggml.scores", scores);
        } else {
            writer.add("tokenizer.ggml.merges", merges);
        }
        if (more) more(writer);
    });
}

std::shared_ptr<const Tokenizer> Made::must_load() const {
    auto tokenizer = load();
    if (!tokenizer) {
        ADD_FAILURE() << tokenizer.error().message;
        return nullptr;
    }
    return *tokenizer;
}

std::vector<std::string> pieces_of(std::string_view text, const std::vector<std::size_t>& ends) {
    std::vector<std::string> pieces;
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
        pieces.emplace_back(text.substr(begin, end - begin));
        begin = end;
    }
    return pieces;
}

}  // namespace potluck::model::test
