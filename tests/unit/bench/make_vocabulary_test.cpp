#include "bench/make_vocabulary.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include <boost/json/value.hpp>

#include "model/chat/template.h"
#include "model/tokenizer/tokenizer.h"
#include "tests/support/tiny_model.h"

namespace potluck::bench {
namespace {

using model::TokenKind;
using test::must;

class MakeVocabulary : public ::testing::Test {
  protected:
    void load(std::uint32_t size) {
        model::gguf::GgufWriter writer;
        add_vocabulary(writer, size);
        bytes_ = must(writer.to_bytes());
        file_ = must(model::gguf::Gguf::parse(bytes_, "vocabulary"));
        tokenizer_ = must(model::Tokenizer::load(*file_));
        ASSERT_EQ(tokenizer_->vocabulary_size(), size);
    }
    std::size_t normal_tokens() const { return tokenizer_->vocabulary_size() - kSpecialTokens; }

    std::vector<std::byte> bytes_;
    std::shared_ptr<const model::gguf::Gguf> file_;
    std::shared_ptr<const model::Tokenizer> tokenizer_;
};

TEST_F(MakeVocabulary, RoundTripsTexts) {
    load(4096);
    for (const std::string text : {"hello", "Hello world, how are you?\n\n1234 times",
                                   "na\xC3\xAFve \xE2\x82\xAC \xF0\x9F\x8D\xB2",
                                   "  two  spaces\tand a tab\r\n", "banana bandana"}) {
        const auto ids = tokenizer_->encode(text, true, false);
        EXPECT_EQ(tokenizer_->decode(ids), text);
        EXPECT_LT(ids.size(), text.size());
    }
}

TEST_F(MakeVocabulary, EveryTokenIsReachedFromItsText) {
    for (const std::uint32_t size : {kSmallestVocabulary, 4096U, 151936U}) {
        load(size);
        std::set<std::string_view> texts;
        for (TokenId id = 0; id < static_cast<TokenId>(size); ++id)
            EXPECT_TRUE(texts.insert(tokenizer_->text(id)).second) << id;
        for (std::size_t i = 256; i < normal_tokens(); ++i) {
            const auto id = static_cast<TokenId>(i);
            ASSERT_EQ(tokenizer_->encode(tokenizer_->piece(id), false, false),
                      std::vector<TokenId>{id})
                << tokenizer_->text(id);
        }
    }
}

TEST_F(MakeVocabulary, EndsAnswersAndHasMarks) {
    load(4096);
    const auto end = tokenizer_->find("<|im_end|>");
    ASSERT_TRUE(end);
    EXPECT_EQ(tokenizer_->eos(), end);
    EXPECT_FALSE(tokenizer_->adds_bos());
    EXPECT_TRUE(tokenizer_->ends_generation(*end));
    EXPECT_TRUE(tokenizer_->ends_generation(tokenizer_->find("<|endoftext|>").value_or(-1)));
    EXPECT_EQ(tokenizer_->kind(*end), TokenKind::kControl);
    EXPECT_EQ(tokenizer_->kind(4095), TokenKind::kUnused);
    EXPECT_EQ(tokenizer_->encode("<|im_start|>", false, true).size(), 1U);
    EXPECT_GT(tokenizer_->encode("<|im_start|>", false, false).size(), 1U);
}

TEST_F(MakeVocabulary, ItsTemplateRenders) {
    load(kSmallestVocabulary);
    const auto parsed =
        must(model::chat::Template::parse(must(file_->get_string("tokenizer.chat_template"))));
    const boost::json::object variables{{"messages", {{{"role", "user"}, {"content", "hello"}}}},
                                        {"add_generation_prompt", true}};
    EXPECT_EQ(must(parsed.render(variables)).text(),
              "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace potluck::bench
