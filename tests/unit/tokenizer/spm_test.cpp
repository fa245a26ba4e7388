#include "model/tokenizer/spm.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "model/tokenizer/unicode.h"
#include "tests/unit/tokenizer/support.h"

namespace potluck::model {
namespace {

const std::string kSpace(kSpmSpace);

struct Vocabulary {
    std::vector<std::string> tokens;
    std::vector<float> scores;
    TokenTexts texts;
    SpmModel model;
};

/// Byte tokens come first, at the id of their byte.
Vocabulary make(const std::vector<std::pair<std::string, float>>& words) {
    Vocabulary v;
    std::array<TokenId, 256> bytes{};
    std::vector<bool> plain;
    for (int byte = 0; byte < 256; ++byte) {
        v.tokens.push_back("<byte " + std::to_string(byte) + ">");
        v.scores.push_back(0);
        bytes[static_cast<std::size_t>(byte)] = byte;
        plain.push_back(false);
    }
    for (const auto& [text, score] : words) {
        v.tokens.push_back(text);
        v.scores.push_back(score);
        plain.push_back(true);
    }
    const std::vector<std::string_view> views(v.tokens.begin(), v.tokens.end());
    v.texts = TokenTexts::build(views).value();
    v.model = SpmModel::build(v.texts, plain, v.scores, bytes, SpmModel::kNone);
    return v;
}

std::vector<TokenId> encode(const Vocabulary& v, std::string_view text) {
    SpmEncoder encoder(v.model, v.texts, text.size());
    std::vector<TokenId> ids;
    encoder.encode(text, ids);
    return ids;
}

/// The definition on strings, over the whole text at once.
std::vector<TokenId> by_definition(const Vocabulary& v, std::string_view text) {
    std::map<std::string, TokenId> ids;
    for (std::size_t i = 256; i < v.tokens.size(); ++i) {
        ids[v.tokens[i]] = static_cast<TokenId>(i);
    }
    std::vector<std::string> parts;
    for (std::size_t pos = 0; pos < text.size(); pos += parts.back().size()) {
        parts.emplace_back(text.substr(pos, unicode::valid_length(text, pos)));
    }
    for (;;) {
        std::size_t best = parts.size();
        float best_score = 0;
        for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
            const auto id = ids.find(parts[i] + parts[i + 1]);
            if (id == ids.end()) continue;
            const float score = v.scores[static_cast<std::size_t>(id->second)];
            if (best == parts.size() || score > best_score) {
                best = i;
                best_score = score;
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
            result.push_back(static_cast<unsigned char>(c));
        }
    }
    return result;
}

TEST(Spm, ByteTokensAreReadExactly) {
    EXPECT_EQ(parse_byte_token("<0x00>"), 0);
    EXPECT_EQ(parse_byte_token("<0xFF>"), 255);
    EXPECT_EQ(parse_byte_token("<0x0a>"), 10);
    for (const char* bad : {"", "<0x>", "<0x1>", "<0x123>", "<0x-1>", "<0xGG>", "<0x 1>", "0x41",
                            "<0x41", "<1x41>"}) {
        EXPECT_FALSE(parse_byte_token(bad)) << bad;
    }
}

// Random words over few letters: with scores that tie, with spaces only in front (texts are cut at
// spaces) and with spaces inside (they may not be).
TEST(Spm, MergesByDefinition) {
    std::mt19937 random(11);
    int cut = 0;
    for (int round = 0; round < 80; ++round) {
        const std::vector<std::string> letters = {"a", "b", "\xC3\xA9", kSpace};
        std::vector<std::pair<std::string, float>> words = {{"a", -50}, {"b", -51}, {kSpace, -52}};
        for (int i = 0; i < 14; ++i) {
            std::string word = random() % 2 == 0 ? kSpace : "";
            const int length = 2 + static_cast<int>(random() % 3);
            for (int k = 0; k < length; ++k) {
                word += letters[random() % (round % 2 == 0 ? 3 : 4)];
            }
            words.emplace_back(word, -static_cast<float>(random() % 6));
        }
        const Vocabulary v = make(words);
        cut += v.model.splits_at_spaces() ? 1 : 0;
        for (const unsigned size : {1U, 2U, 5U, 20U, 60U}) {
            std::string text;
            for (std::size_t i = 0; i < size; ++i) {
                text += letters[random() % 4];
            }
            EXPECT_EQ(encode(v, text), by_definition(v, text)) << text;
        }
    }
    EXPECT_GE(cut, 40);
    EXPECT_LT(cut, 80);
}

TEST(Spm, CharactersWithoutATokenBecomeBytes) {
    const Vocabulary v = make({{"a", 0}});
    EXPECT_EQ(encode(v, "a\xC3\xA9"), (std::vector<TokenId>{256, 0xC3, 0xA9}));
}

TEST(Spm, LongWordsTakeLinearWork) {
    const std::size_t size = 1 << 20;
    std::vector<std::pair<std::string, float>> words = {{"a", -100}, {kSpace, -100}};
    std::string run = "a";
    std::string spaces = kSpace;
    for (int i = 0; i < 5; ++i) {
        run += run;
        spaces += spaces;
        words.emplace_back(run, static_cast<float>(-i));
        words.emplace_back(spaces, static_cast<float>(-i));
    }
    const Vocabulary v = make(words);
    std::string many_spaces;
    for (std::size_t i = 0; i < size / 3; ++i) {
        many_spaces += kSpace;
    }
    for (const std::string& text : {std::string(size, 'a'), many_spaces, std::string(size, 'x')}) {
        SpmEncoder encoder(v.model, v.texts, text.size());
        std::vector<TokenId> ids;
        encoder.encode(text, ids);
        // n pairs at first and at most two more per merge; each is queued and taken once.
        EXPECT_LE(encoder.work().lookups, 3 * text.size());
        EXPECT_LE(encoder.work().queue_operations, 6 * text.size());
        EXPECT_GE(encoder.work().lookups, text.size() / 3 - 1);
    }
}

}  // namespace
}  // namespace potluck::model
