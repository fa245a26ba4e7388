#include "model/tokenizer/same_vocabulary.h"

#include <gmock/gmock.h>

#include "tests/support/tiny_model.h"

namespace potluck::model {
namespace {

using test::must;
using testing::HasSubstr;

std::shared_ptr<const Tokenizer> make(std::uint32_t size, std::size_t changed = 0,
                                      const std::string& text = {}) {
    test::TinySpec spec{.layers = 1, .vocabulary = size};
    if (changed > 0) {
        std::map<std::string, gguf::WriterValue> keys;
        test::tiny::add_vocabulary(keys, size);
        auto tokens = std::get<std::vector<std::string>>(keys["tokenizer.ggml.tokens"]);
        tokens[changed] = text;
        spec.keys["tokenizer.ggml.tokens"] = tokens;
    }
    return must(Tokenizer::load(*test::make_tiny_model(spec).file));
}

std::string problem(const Tokenizer& a, const Tokenizer& b) {
    const Status same = check_same_vocabulary(a, b);
    return same ? "" : same.error().message;
}

TEST(SameVocabulary, IsTheSame) {
    const auto a = make(300), b = make(300);
    EXPECT_EQ(problem(*a, *b), "");
    EXPECT_EQ(vocabulary_fingerprint(*a), vocabulary_fingerprint(*b));
}

TEST(SameVocabulary, NamesTheFirstDifference) {
    const auto a = make(300), b = make(300, 270, "other\xC3\xA9\n");
    EXPECT_EQ(problem(*a, *b),
              "the vocabularies differ: token 270 is \"word270\" in one and "
              "\"other\\xc3\\xa9\\x0a\" in the other");
    EXPECT_NE(vocabulary_fingerprint(*a), vocabulary_fingerprint(*b));
}

TEST(SameVocabulary, APaddedOneIsTheSame) {
    const auto a = make(300), b = make(428), c = make(429);
    EXPECT_EQ(problem(*a, *b), "");
    EXPECT_EQ(problem(*b, *a), "");
    for (const auto& text : {problem(*a, *c), problem(*c, *a)})
        EXPECT_THAT(text, HasSubstr("token 300 is \"word300\" and is missing"));
    EXPECT_NE(vocabulary_fingerprint(*a), vocabulary_fingerprint(*b));
}

TEST(SameVocabulary, KindsDiffer) {
    const auto a = make(300);
    const auto b = must(Tokenizer::load(
        *must(gguf::Gguf::open(POTLUCK_SOURCE_DIR "/models/tiny-coder-q8_0.gguf"))));
    EXPECT_THAT(problem(*a, *b), HasSubstr("'llama', the other 'gpt2'"));
}

}  // namespace
}  // namespace potluck::model
