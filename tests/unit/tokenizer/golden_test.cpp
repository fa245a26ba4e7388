// Vocabularies of real models and the ids that other engines gave for the same texts.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

#include "tests/unit/tokenizer/support.h"

namespace potluck::model {
namespace {

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, GivesTheRecordedIds) {
    const std::string base = "ggml-vocab-" + GetParam() + ".gguf";
    const auto tokenizer = test::load_shared("tokenizers/" + base);
    if (!tokenizer) GTEST_SKIP() << "no " << base << " beside the checkout";
    const auto texts = test::read_texts(test::shared_path("tokenizers/" + base + ".inp"));
    const auto ids = test::read_ids(test::shared_path("tokenizers/" + base + ".out"));
    ASSERT_GE(texts.size(), 40U);
    ASSERT_EQ(texts.size(), ids.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
        EXPECT_EQ(tokenizer->encode(texts[i], false, true), ids[i])
            << GetParam() << " case " << i << ": " << testing::PrintToString(texts[i]);
    }
}

TEST_P(Golden, DecodesToTheText) {
    const std::string base = "ggml-vocab-" + GetParam() + ".gguf";
    const auto tokenizer = test::load_shared("tokenizers/" + base);
    if (!tokenizer) GTEST_SKIP() << "no " << base << " beside the checkout";
    for (const std::string& text :
         test::read_texts(test::shared_path("tokenizers/" + base + ".inp"))) {
        const auto ids = tokenizer->encode(text, true, false);
        EXPECT_EQ(tokenizer->decode(ids), text) << GetParam();
        StreamDecoder decoder(tokenizer);
        std::string streamed;
        for (const TokenId id : ids) {
            const std::string part = decoder.push(id);
            EXPECT_TRUE(test::is_valid_utf8(part)) << "half a character was given out";
            streamed += part;
        }
        EXPECT_EQ(decoder.flush(), "");
        EXPECT_EQ(streamed, text) << GetParam();
    }
}

// Only printed: how long is no matter of right or wrong.
TEST_P(Golden, PrintsItsSpeed) {
    const auto file = test::open_shared("tokenizers/ggml-vocab-" + GetParam() + ".gguf");
    if (!file) GTEST_SKIP() << "no vocabulary " << GetParam() << " beside the checkout";
    using Milliseconds = std::chrono::duration<double, std::milli>;
    const auto start = std::chrono::steady_clock::now();
    const auto tokenizer = Tokenizer::load(*file).value();
    const Milliseconds load = std::chrono::steady_clock::now() - start;
    std::string text;
    for (const auto& part :
         test::read_texts(test::shared_path("tokenizers/ggml-vocab-" + GetParam() + ".gguf.inp"))) {
        text += part + "\n";
    }
    for (int i = 0; i < 5; ++i) {
        text += text;
    }
    const auto begin = std::chrono::steady_clock::now();
    const auto ids = tokenizer->encode(text, false, true);
    const Milliseconds encode = std::chrono::steady_clock::now() - begin;
    std::printf("  %zu tokens loaded in %.1f ms; %zu bytes encoded at %.1f MB/s\n",
                tokenizer->vocabulary_size(), load.count(), text.size(),
                static_cast<double>(text.size()) / encode.count() / 1000);
    EXPECT_EQ(tokenizer->decode(ids, true), text);
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, Golden,
                         testing::Values("qwen2", "gpt-2", "starcoder", "deepseek-coder", "mpt",
                                         "llama-spm", "phi-3"),
                         [](const auto& parameter) {
                             std::string name = parameter.param;
                             std::erase(name, '-');
                             return name;
                         });

}  // namespace
}  // namespace potluck::model
