#include "model/tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

#include "model/tokenizer/pretokenizer.h"
#include "tests/unit/tokenizer/support.h"

namespace potluck::model {
namespace {

struct Vocabulary {
    TokenTexts texts;
    BpeModel model;
};

Vocabulary make(const std::vector<std::string>& tokens, const std::vector<std::string>& merges,
                bool ignore_merges = false, std::vector<bool> plain = {}) {
    const std::vector<std::string_view> token_views(tokens.begin(), tokens.end());
    const std::vector<std::string_view> merge_views(merges.begin(), merges.end());
    if (plain.empty()) plain.assign(tokens.size(), true);
    Vocabulary v;
    v.texts = TokenTexts::build(token_views).value();
    v.model = BpeModel::build(v.texts, plain, merge_views, ignore_merges).value();
    return v;
}

std::vector<TokenId> encode(const Vocabulary& v, std::string_view piece) {
    BpeEncoder encoder(v.model, v.texts, piece.size());
    std::vector<TokenId> ids;
    encoder.encode(piece, ids);
    return ids;
}

/// The definition, word for word, on strings; ASCII letters stand for themselves.
std::vector<TokenId> by_definition(const std::vector<std::string>& tokens,
                                   const std::vector<std::string>& merges, std::string_view piece) {
    std::map<std::string, std::size_t> ranks;
    for (std::size_t i = 0; i < merges.size(); ++i) {
        ranks.try_emplace(merges[i], i);
    }
    std::map<std::string, TokenId> ids;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        ids[tokens[i]] = static_cast<TokenId>(i);
    }
    std::vector<std::string> parts;
    for (const char c : piece) {
        parts.emplace_back(1, c);
    }
    for (;;) {
        std::size_t best = parts.size();
        std::size_t best_rank = merges.size();
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            const auto rank = ranks.find(parts[i] + " " + parts[i + 1]);
            if (rank != ranks.end() && rank->second < best_rank) {
                best = i;
                best_rank = rank->second;
            }
        }
        if (best == parts.size()) break;
        parts[best] += parts[best + 1];
        parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    std::vector<TokenId> result;
    for (const std::string& part : parts) {
        if (ids.contains(part)) {
            result.push_back(ids[part]);
            continue;
        }
        for (const char c : part) {
            if (ids.contains(std::string(1, c))) result.push_back(ids[std::string(1, c)]);
        }
    }
    return result;
}

TEST(ByteAlphabet, IsAOneToOneMapToPrintableCharacters) {
    EXPECT_EQ(byte_to_alphabet(' '), 0x120U);
    EXPECT_EQ(byte_to_alphabet('\n'), 0x10AU);
    EXPECT_EQ(byte_to_alphabet(0xAD), 0x143U);
    EXPECT_EQ(byte_to_alphabet('a'), U'a');
    for (int byte = 0; byte < 256; ++byte) {
        EXPECT_EQ(alphabet_to_byte(byte_to_alphabet(static_cast<unsigned char>(byte))), byte);
    }
    EXPECT_EQ(alphabet_to_byte(' '), -1);
    EXPECT_EQ(alphabet_to_byte(0x144), -1);
    EXPECT_EQ(alphabet_to_byte(0x10FFFF), -1);
}

// Random merges over three letters, some of whose results are no tokens, and one letter without a
// token.
TEST(Bpe, MergesByDefinitionInShortAndLongPieces) {
    std::mt19937 random(7);
    for (int round = 0; round < 60; ++round) {
        std::vector<std::string> tokens = {"a", "b"};
        std::vector<std::string> parts = {"a", "b", "c"};
        std::vector<std::string> merges;
        for (int i = 0; i < 12; ++i) {
            const std::string left = parts[random() % parts.size()];
            const std::string right = parts[random() % parts.size()];
            merges.push_back(left + " " + right);
            if (left.size() + right.size() > 12) continue;
            parts.push_back(left + right);
            if (random() % 4 != 0) tokens.push_back(left + right);
        }
        std::sort(tokens.begin(), tokens.end());
        tokens.erase(std::unique(tokens.begin(), tokens.end()), tokens.end());
        const Vocabulary v = make(tokens, merges);
        for (const unsigned size : {1U, 2U, 3U, 7U, 16U, 17U, 31U, 32U, 33U, 34U, 100U, 300U}) {
            std::string piece;
            for (std::size_t i = 0; i < size; ++i) {
                piece += "abc"[random() % 3];
            }
            EXPECT_EQ(encode(v, piece), by_definition(tokens, merges, piece)) << piece;
        }
    }
}

TEST(Bpe, RepeatedPiecesComeFromTheCacheUnchanged) {
    const Vocabulary v = make({"a", "b", "ab", "abab"}, {"a b", "ab ab"});
    BpeEncoder encoder(v.model, v.texts, 1000);
    std::vector<TokenId> ids;
    for (int i = 0; i < 3; ++i) {
        encoder.encode("ababa", ids);
        encoder.encode("ab", ids);
    }
    EXPECT_EQ(ids, (std::vector<TokenId>{3, 0, 2, 3, 0, 2, 3, 0, 2}));
    EXPECT_EQ(encoder.work().cached_pieces, 4U);
}

TEST(Bpe, IgnoringMergesTakesAWholePieceThatIsAToken) {
    const std::vector<std::string> tokens = {"a", "b", "c", "ab", "abc", "cab"};
    const std::vector<std::string> merges = {"a b", "ab c"};
    EXPECT_EQ(encode(make(tokens, merges, false), "cab"), (std::vector<TokenId>{2, 3}));
    EXPECT_EQ(encode(make(tokens, merges, true), "cab"), (std::vector<TokenId>{5}));
    EXPECT_EQ(encode(make(tokens, merges, true), "cabc"), (std::vector<TokenId>{2, 4}));
    const std::vector<bool> plain = {true, true, true, true, true, false};
    EXPECT_EQ(encode(make(tokens, merges, true, plain), "cab"), (std::vector<TokenId>{2, 3}));
}

TEST(Bpe, NothingMergesIntoAControlToken) {
    const std::vector<std::string> tokens = {"a", "b", "c", "ab"};
    const std::vector<std::string> merges = {"a b"};
    EXPECT_EQ(encode(make(tokens, merges), "ab"), (std::vector<TokenId>{3}));
    EXPECT_EQ(encode(make(tokens, merges, false, {true, true, true, false}), "ab"),
              (std::vector<TokenId>{0, 1}));
    EXPECT_EQ(encode(make(tokens, merges, true, {true, true, true, false}), "ab"),
              (std::vector<TokenId>{0, 1}));
}

TEST(Bpe, MergesWithoutASpaceAreRefusedByNumber) {
    const TokenTexts texts = TokenTexts::build(std::vector<std::string_view>{"a", "b"}).value();
    for (const std::string_view bad : {"ab", "", " ", " a"}) {
        const std::vector<std::string_view> merges = {"a b", bad};
        const auto model = BpeModel::build(texts, {true, true}, merges, false);
        ASSERT_FALSE(model) << bad;
        EXPECT_EQ(model.error().code, ErrorCode::kCorrupt);
        EXPECT_NE(model.error().message.find("tokenizer.ggml.merges[1]"), std::string::npos);
    }
}

/// One piece of 1 MiB costs a bounded number of queue operations and lookups per byte. (Seconds are
/// only printed.)
void expect_linear_work(const BpeModel& model, const TokenTexts& texts, PreFamily family,
                        const char* what, const std::string& text) {
    std::vector<std::size_t> ends;
    std::vector<std::size_t> scratch;
    const auto start = std::chrono::steady_clock::now();
    split_pieces(family, text, ends, scratch);
    BpeEncoder encoder(model, texts, text.size());
    std::vector<TokenId> ids;
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
        encoder.encode(std::string_view(text).substr(begin, end - begin), ids);
        begin = end;
    }
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    std::printf(
        "  %-8s %zu bytes, %zu pieces, %zu ids, %llu queue operations, %llu lookups, %.0f ms\n",
        what, text.size(), ends.size(), ids.size(),
        static_cast<unsigned long long>(encoder.work().queue_operations),
        static_cast<unsigned long long>(encoder.work().pair_lookups), took.count());
    // n pairs at first, at most two new ones per merge, at most n merges; each is queued and taken
    // once.
    EXPECT_LE(encoder.work().queue_operations, 6 * text.size()) << what;
    EXPECT_LE(encoder.work().pair_lookups, 3 * text.size()) << what;
    EXPECT_GT(encoder.work().queue_operations + encoder.work().pair_lookups +
                  encoder.work().cached_pieces,
              0U);
}

std::map<std::string, std::string> long_texts() {
    const std::size_t size = 1 << 20;
    std::mt19937 random(3);
    std::string letters;
    std::string base64;
    std::string emoji;
    const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (letters.size() < size) {
        letters += static_cast<char>('a' + random() % 26);
        base64 += digits[random() % 64];
    }
    while (emoji.size() < size) {
        emoji += "\xF0\x9F\x98\x80";
    }
    return {{"a", std::string(size, 'a')},
            {"newline", std::string(size, '\n')},
            {"space", std::string(size, ' ')},
            {"letters", letters},
            {"base64", base64},
            {"emoji", emoji}};
}

TEST(Bpe, LongPiecesTakeLinearWorkWithDoublingMerges) {
    // Merges that build runs of 2, 4, ... 4096 equal bytes: every level of merging happens.
    std::vector<std::string> tokens;
    for (int byte = 0; byte < 256; ++byte) {
        tokens.push_back(test::in_alphabet(std::string(1, static_cast<char>(byte))));
    }
    std::vector<std::string> merges;
    for (const char c : {'a', '\n', ' '}) {
        std::string run = test::in_alphabet(std::string(1, c));
        for (int i = 0; i < 12; ++i) {
            merges.push_back(run + " " + run);
            run += run;
            tokens.push_back(run);
        }
    }
    const Vocabulary v = make(tokens, merges);
    for (const auto& [what, text] : long_texts()) {
        expect_linear_work(v.model, v.texts, PreFamily::kQwen2, what.c_str(), text);
    }
    EXPECT_EQ(encode(v, std::string(1 << 20, 'a')).size(), (1U << 20) / 4096);
}

TEST(Bpe, LongPiecesTakeLinearWorkWithARealVocabulary) {
    const auto file = test::open_shared("tokenizers/ggml-vocab-qwen2.gguf");
    if (!file) GTEST_SKIP() << "no ggml-vocab-qwen2.gguf beside the checkout";
    const auto texts =
        TokenTexts::build(file->get_strings("tokenizer.ggml.tokens").value()).value();
    const auto model = BpeModel::build(texts, std::vector<bool>(texts.size(), true),
                                       file->get_strings("tokenizer.ggml.merges").value(), false)
                           .value();
    for (const auto& [what, text] : long_texts()) {
        expect_linear_work(model, texts, PreFamily::kQwen2, what.c_str(), text);
    }
}

}  // namespace
}  // namespace potluck::model
