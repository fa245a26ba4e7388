#include "model/gguf/describe.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/printable.h"
#include "model/gguf/writer.h"
#include "tests/unit/gguf/raw_file.h"

namespace potluck::model::gguf::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Dims = std::vector<std::uint64_t>;

TEST(Printable, EscapesWhatTerminalsObeyAndWhatIsNoText) {
    EXPECT_EQ(printable("plain"), "plain");
    EXPECT_EQ(printable("a\nb\tc\x7f"), "a\\nb\\x09c\\x7f");
    EXPECT_EQ(printable("\xe2\x82\xac \xf0\x9f\x8d\xb2"), "\xe2\x82\xac \xf0\x9f\x8d\xb2");
    EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");                    // overlong
    EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // surrogate
    EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
    EXPECT_EQ(printable("\xe2\x82"), "\\xe2\\x82");                    // cut
    EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");                    // C1 control
}

TEST(Printable, CutsBetweenCharacters) {
    EXPECT_EQ(printable("abcdef", 6), "abcdef");
    EXPECT_EQ(printable("abcdef", 5), "abcde...");
    EXPECT_EQ(printable("a\xe2\x82\xac\xe2\x82\xac", 2), "a\xe2\x82\xac...");
}

class Describe : public testing::Test {
  protected:
    void SetUp() override {
        GgufWriter writer;
        writer.add("general.architecture", "llama");
        writer.add("number", std::int8_t{-3});
        writer.add("float", 1e-6F);
        writer.add("flag", false);
        writer.add("short", std::vector<std::int16_t>{-1, 2});
        writer.add("long", std::vector<std::uint32_t>(1000, 5));
        writer.add("words", std::vector<std::string>{"a\x1b", "b"});
        writer.add("template", std::string(500, 'x'));
        writer.add_tensor("norm", TensorType::kF64, Dims{4}, std::vector<std::byte>(32));
        writer.add_tensor("big", TensorType::kF32, Dims{256, 3}, std::vector<std::byte>(3072));
        writer.add_tensor("odd.1", TensorType::kIQ2_XXS, Dims{256, 2}, std::vector<std::byte>(132));
        writer.add_tensor("odd.2", TensorType::kIQ2_XXS, Dims{256, 2}, std::vector<std::byte>(132));
        bytes_ = writer.to_bytes().value();
        file_ = Gguf::parse(bytes_, "x.gguf").value();
    }
    std::string value(std::string_view key) { return describe_value(*file_->find(key)); }

    std::vector<std::byte> bytes_;
    std::shared_ptr<const Gguf> file_;
};

TEST_F(Describe, Values) {
    EXPECT_EQ(value("general.architecture"), "\"llama\"");
    EXPECT_EQ(value("number"), "-3");
    EXPECT_EQ(value("float"), "1e-06");
    EXPECT_EQ(value("flag"), "false");
    EXPECT_EQ(value("short"), "[-1, 2]");
    EXPECT_EQ(value("long"), "[5, 5, 5, 5, 5, 5, ... 1000 of u32]");
    EXPECT_EQ(value("words"), "[\"a\\x1b\", \"b\"]");
    EXPECT_THAT(value("template"), HasSubstr("...\" (500 bytes)"));
}

TEST_F(Describe, TensorsAndTotals) {
    EXPECT_EQ(describe_dims(*file_->find_tensor("big")), "{256, 3}");
    const auto totals = totals_by_type(file_->tensors());
    ASSERT_EQ(totals.size(), 3u);
    EXPECT_EQ(totals[0].type, TensorType::kF32);
    EXPECT_EQ(totals[1].type, TensorType::kIQ2_XXS);
    EXPECT_EQ(totals[1].tensors, 2u);
    EXPECT_EQ(totals[1].bytes, 264u);
}

TEST_F(Describe, ListsWhatIsUnsupported) {
    const std::vector<std::string_view> known{"llama", "qwen2"};
    EXPECT_THAT(list_unsupported(*file_, known, std::nullopt),
                ElementsAre("tensor type IQ2_XXS: 2 weights, the first is 'odd.1'"));
    const std::vector<std::string_view> others{"qwen2", "qwen3"};
    EXPECT_THAT(list_unsupported(*file_, others, "no such thing"),
                ElementsAre("architecture 'llama' (this build knows qwen2, qwen3)",
                            "tensor type IQ2_XXS: 2 weights, the first is 'odd.1'",
                            "tokenizer: no such thing"));
    const auto bare = RawFile().header(0, 0);
    EXPECT_THAT(list_unsupported(*Gguf::parse(bare.bytes(), "bare").value(), known, std::nullopt),
                ElementsAre("bare: has no key 'general.architecture'"));
}

}  // namespace
}  // namespace potluck::model::gguf::test
