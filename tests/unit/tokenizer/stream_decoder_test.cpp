#include <gtest/gtest.h>

#include <random>

#include "tests/unit/tokenizer/support.h"

namespace potluck::model {
namespace {

const std::string kMark = "\xEF\xBF\xBD";

TEST(StreamDecoder, GivesOutACharacterWhenItsLastByteComes) {
    const auto tokenizer = test::Made::bpe().must_load();
    ASSERT_TRUE(tokenizer);
    StreamDecoder decoder(tokenizer);
    EXPECT_EQ(decoder.push('a'), "a");
    // In this vocabulary a byte token's id is its byte.
    EXPECT_EQ(decoder.push(0xF0), "");
    EXPECT_EQ(decoder.push(0x9F), "");
    EXPECT_EQ(decoder.push(0x98), "");
    EXPECT_EQ(decoder.push(0x80), "\xF0\x9F\x98\x80");
    EXPECT_EQ(decoder.push(0xC3), "");
    EXPECT_EQ(decoder.push('b'), kMark + "b") << "what cannot become a character is not held back";
    EXPECT_EQ(decoder.push(0xE2), "");
    EXPECT_EQ(decoder.push(0x82), "");
    EXPECT_EQ(decoder.flush(), kMark);
    EXPECT_EQ(decoder.flush(), "");
}

TEST(StreamDecoder, AgreesWithDecodeOnAnyBytes) {
    const auto bpe = test::Made::bpe().must_load();
    const auto spm = test::Made::spm().must_load();
    ASSERT_TRUE(bpe && spm);
    std::mt19937 random(1);
    const unsigned char pool[] = {'a',  ' ',  0x80, 0xBF, 0xC3, 0xA9, 0xE2, 0x82,
                                  0xAC, 0xED, 0xA0, 0xF0, 0x9F, 0x98, 0xFF, 0xC0};
    for (int round = 0; round < 2000; ++round) {
        std::vector<TokenId> ids;
        for (std::size_t i = 0; i < random() % 12; ++i) {
            ids.push_back(pool[random() % std::size(pool)]);
        }
        for (const auto& tokenizer : {bpe, spm}) {
            std::vector<TokenId> tokens = ids;
            if (tokenizer == spm) {
                for (TokenId& id : tokens)
                    id += 3;  // after <unk>, <s>, </s>
            }
            StreamDecoder decoder(tokenizer);
            std::string streamed;
            for (const TokenId id : tokens) {
                const std::string part = decoder.push(id);
                ASSERT_TRUE(test::is_valid_utf8(part));
                streamed += part;
            }
            const std::string rest = decoder.flush();
            ASSERT_TRUE(rest.empty() || rest == kMark);
            ASSERT_EQ(streamed + rest, tokenizer->decode(tokens)) << testing::PrintToString(tokens);
        }
    }
}

TEST(StreamDecoder, DropsTheSpaceThatSpmPutsBeforeTheFirstWord) {
    const auto tokenizer = test::Made::spm().must_load();
    ASSERT_TRUE(tokenizer);
    const TokenId word = *tokenizer->find(
        "\xE2\x96\x81"
        "ab");
    StreamDecoder decoder(tokenizer);
    EXPECT_EQ(decoder.push(*tokenizer->bos()), "");
    EXPECT_EQ(decoder.push(word), "ab");
    EXPECT_EQ(decoder.push(word), " ab");
    EXPECT_EQ(decoder.flush(), "");
    test::Made made = test::Made::spm();
    made.more = [](gguf::GgufWriter& w) { w.add("tokenizer.ggml.add_space_prefix", false); };
    const auto plain = made.must_load();
    ASSERT_TRUE(plain);
    StreamDecoder other(plain);
    EXPECT_EQ(other.push(word), " ab");
}

TEST(StreamDecoder, ShowsControlTokensOnlyWhenAsked) {
    test::Made made = test::Made::bpe();
    const TokenId control = made.add("<|im_end|>", TokenKind::kControl);
    const TokenId user = made.add("<think>", TokenKind::kUserDefined);
    const TokenId unused = made.add("[PAD9]", TokenKind::kUnused);
    const auto tokenizer = made.must_load();
    ASSERT_TRUE(tokenizer);
    StreamDecoder plain(tokenizer);
    EXPECT_EQ(plain.push(control) + plain.push(user) + plain.push(unused), "<think>");
    StreamDecoder special(tokenizer, true);
    EXPECT_EQ(special.push(control) + special.push(user), "<|im_end|><think>");
    EXPECT_EQ(plain.push(-1) + plain.push(1 << 30), "")
        << "ids outside the vocabulary give nothing";
}

}  // namespace
}  // namespace potluck::model
