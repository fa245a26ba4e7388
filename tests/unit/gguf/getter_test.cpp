// Every value type goes through the writer and comes back through the typed getters, which refuse
// any other type.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "model/gguf/writer.h"
#include "tests/unit/gguf/raw_file.h"

namespace potluck::model::gguf::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::byte> all_types() {
    GgufWriter writer;
    writer.add("u8", std::uint8_t{255});
    writer.add("i8", std::int8_t{-128});
    writer.add("u16", std::uint16_t{65535});
    writer.add("i16", std::int16_t{-32768});
    writer.add("u32", std::uint32_t{4294967295});
    writer.add("i32", std::int32_t{7});
    writer.add("f32", 0.5F);
    writer.add("bool", true);
    writer.add("string", "text");
    writer.add("u64", std::numeric_limits<std::uint64_t>::max());
    writer.add("i64", std::numeric_limits<std::int64_t>::min());
    writer.add("f64", 0.1);
    writer.add("array.u8", std::vector<std::uint8_t>{0, 255});
    writer.add("array.i8", std::vector<std::int8_t>{-128, 127});
    writer.add("array.u16", std::vector<std::uint16_t>{65535});
    writer.add("array.i16", std::vector<std::int16_t>{-1});
    writer.add("array.u32", std::vector<std::uint32_t>{4294967295});
    writer.add("array.i32", std::vector<std::int32_t>{-5, 5});
    writer.add("array.f32", std::vector<float>{-0.5F, 2.0F});
    writer.add("array.bool", std::vector<bool>{true, false, true});
    writer.add("array.string", std::vector<std::string>{"a", "", "ccc"});
    writer.add("array.u64", std::vector<std::uint64_t>{1, std::uint64_t{1} << 63});
    writer.add("array.i64", std::vector<std::int64_t>{-9});
    writer.add("array.f64", std::vector<double>{1.0});
    writer.add("array.empty", std::vector<std::uint32_t>{});
    auto bytes = writer.to_bytes();
    EXPECT_TRUE(bytes.has_value());
    return std::move(*bytes);
}

class GgufGetters : public testing::Test {
  protected:
    void SetUp() override {
        auto file = Gguf::parse(bytes_, "all.gguf");
        ASSERT_TRUE(file.has_value()) << file.error().message;
        file_ = std::move(*file);
    }
    /// The key is there but holds something else.
    template <typename T>
    void expect_refused(const Result<T>& result, const std::string& key, const std::string& why) {
        ASSERT_FALSE(result.has_value()) << key;
        EXPECT_EQ(result.error().code, ErrorCode::kCorrupt);
        EXPECT_THAT(result.error().message, testing::StartsWith("all.gguf: key '" + key + "' at "));
        EXPECT_THAT(result.error().message, HasSubstr(at(file_->find(key)->offset)));
        EXPECT_THAT(result.error().message, HasSubstr(why));
    }

    const std::vector<std::byte> bytes_ = all_types();
    std::shared_ptr<const Gguf> file_;
};

TEST_F(GgufGetters, UintTakesAnyIntegerThatIsNotNegative) {
    EXPECT_EQ(file_->get_uint("u8").value(), 255u);
    EXPECT_EQ(file_->get_uint("u16").value(), 65535u);
    EXPECT_EQ(file_->get_uint("u32").value(), 4294967295u);
    EXPECT_EQ(file_->get_uint("i32").value(), 7u);
    EXPECT_EQ(file_->get_uint("u64").value(), std::numeric_limits<std::uint64_t>::max());
    expect_refused(file_->get_uint("i8"), "i8", "must not be negative, but is -128");
    expect_refused(file_->get_uint("i16"), "i16", "-32768");
    expect_refused(file_->get_uint("i64"), "i64", "-9223372036854775808");
    for (const char* key : {"f32", "bool", "string", "f64", "array.u32"})
        expect_refused(file_->get_uint(key), key, "must be an integer");
}

TEST_F(GgufGetters, FloatTakesBothWidths) {
    EXPECT_EQ(file_->get_float("f32").value(), 0.5);
    EXPECT_EQ(file_->get_float("f64").value(), 0.1);
    for (const char* key : {"u32", "i32", "bool", "string", "array.f32"})
        expect_refused(file_->get_float(key), key, "must be a float, but its type is");
}

TEST_F(GgufGetters, StringAndBool) {
    EXPECT_EQ(file_->get_string("string").value(), "text");
    EXPECT_EQ(file_->get_bool("bool").value(), true);
    for (const char* key : {"u32", "bool", "array.string"})
        expect_refused(file_->get_string(key), key, "must be a string, but its type is");
    for (const char* key : {"u8", "string", "array.bool"})
        expect_refused(file_->get_bool(key), key, "must be a bool, but its type is");
}

TEST_F(GgufGetters, Strings) {
    const auto strings = file_->get_strings("array.string");
    ASSERT_TRUE(strings.has_value());
    EXPECT_THAT(*strings, ElementsAre("a", "", "ccc"));
    expect_refused(file_->get_strings("string"), "string", "must be an array of strings");
    expect_refused(file_->get_strings("array.i32"), "array.i32", "its type is array of i32");
    // An empty array of the wrong type is still of the wrong type.
    expect_refused(file_->get_strings("array.empty"), "array.empty", "array of u32");
}

TEST_F(GgufGetters, Ints) {
    EXPECT_THAT(file_->get_ints("array.u8").value(), ElementsAre(0, 255));
    EXPECT_THAT(file_->get_ints("array.i8").value(), ElementsAre(-128, 127));
    EXPECT_THAT(file_->get_ints("array.u16").value(), ElementsAre(65535));
    EXPECT_THAT(file_->get_ints("array.i16").value(), ElementsAre(-1));
    EXPECT_THAT(file_->get_ints("array.u32").value(), ElementsAre(4294967295));
    EXPECT_THAT(file_->get_ints("array.i32").value(), ElementsAre(-5, 5));
    EXPECT_THAT(file_->get_ints("array.i64").value(), ElementsAre(-9));
    EXPECT_THAT(file_->get_ints("array.bool").value(), ElementsAre(1, 0, 1));
    EXPECT_THAT(file_->get_ints("array.empty").value(), ElementsAre());
    expect_refused(file_->get_ints("array.u64"), "array.u64", "element 1 is 9223372036854775808");
    for (const char* key : {"u32", "array.f32", "array.string"})
        expect_refused(file_->get_ints(key), key, "must be an array of integers");
}

TEST_F(GgufGetters, Floats) {
    EXPECT_THAT(file_->get_floats("array.f32").value(), ElementsAre(-0.5F, 2.0F));
    for (const char* key : {"f32", "array.f64", "array.i32", "array.string"})
        expect_refused(file_->get_floats(key), key, "must be an array of f32");
}

TEST_F(GgufGetters, AbsentKeysAreNotFound) {
    const auto expect_absent = [](const auto& result) {
        ASSERT_FALSE(result.has_value());
        EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
        EXPECT_EQ(result.error().message, "all.gguf: has no key 'absent'");
    };
    expect_absent(file_->get_uint("absent"));
    expect_absent(file_->get_float("absent"));
    expect_absent(file_->get_string("absent"));
    expect_absent(file_->get_bool("absent"));
    expect_absent(file_->get_strings("absent"));
    expect_absent(file_->get_ints("absent"));
    expect_absent(file_->get_floats("absent"));
    EXPECT_EQ(file_->find("absent"), nullptr);
    EXPECT_EQ(file_->find(""), nullptr);
    EXPECT_EQ(file_->find_tensor("absent"), nullptr);
}

TEST_F(GgufGetters, MetadataKeepsOrderTypesAndOffsets) {
    ASSERT_EQ(file_->metadata().size(), 25u);
    EXPECT_EQ(file_->metadata()[0].key, "u8");
    EXPECT_EQ(file_->metadata()[0].type, ValueType::kU8);
    EXPECT_EQ(file_->metadata()[0].offset, 24u);
    EXPECT_EQ(file_->metadata()[1].offset, 24u + 8 + 2 + 4 + 1);
    EXPECT_EQ(file_->find("array.f64")->type, ValueType::kArray);
}

TEST_F(GgufGetters, CopyingEveryPairGivesTheSameFile) {
    GgufWriter copy;
    for (const auto& kv : file_->metadata())
        copy.add(kv);
    EXPECT_EQ(copy.to_bytes().value(), bytes_);
}

}  // namespace
}  // namespace potluck::model::gguf::test
