// One broken file for each check of the header and the metadata.

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "model/gguf/shard.h"
#include "tests/unit/gguf/raw_file.h"

namespace potluck::model::gguf::test {
namespace {

constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kHeader = 24;  // where the first key begins

TEST(GgufHeader, RefusesAnEmptyFile) {
    expect_error(RawFile(), ErrorCode::kCorrupt, {at(0), "only 0 bytes"});
}

TEST(GgufHeader, RefusesOtherFilesAndSaysHowTheyBegin) {
    expect_error(RawFile().text("version https://git-lfs"), ErrorCode::kCorrupt,
                 {at(0), "begins with 'vers'"});
    expect_error(RawFile().text("\x1b[2Jxxxxxxxxxxxxxxxxxxxxxxxx"), ErrorCode::kCorrupt,
                 {"begins with '\\x1b[2J'"});
}

TEST(GgufHeader, RefusesVersionsOtherThan2And3) {
    for (const std::uint32_t version : {0u, 1u, 4u, 77u})
        expect_error(RawFile().header(0, 0, version), ErrorCode::kUnsupported,
                     {at(4), "version " + std::to_string(version)});
}

TEST(GgufHeader, RefusesBigEndianFiles) {
    expect_error(RawFile().header(0, 0, 0x03000000), ErrorCode::kUnsupported,
                 {at(4), "big-endian"});
}

TEST(GgufHeader, AcceptsVersions2And3) {
    for (const std::uint32_t version : {2u, 3u}) {
        const auto raw = RawFile().header(0, 0, version);
        const auto file = Gguf::parse(raw.bytes(), "x");
        ASSERT_TRUE(file.has_value()) << file.error().message;
        EXPECT_EQ((*file)->version(), version);
    }
}

TEST(GgufHeader, RefusesEveryTruncation) {
    auto raw = RawFile().header(1, 2);
    raw.key("a.string", kString).string("text");
    raw.key("b.array", kArray).u32(kString).u64(2).string("one").string("two");
    raw.tensor("weight", {32, 2}, kTypeQ8_0, 0).pad(32).zeros(68);
    ASSERT_TRUE(Gguf::parse(raw.bytes(), "whole").has_value());
    const std::span<const std::byte> bytes(raw.bytes());
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const auto file = Gguf::parse(bytes.first(length), "cut");
        ASSERT_FALSE(file.has_value()) << length;
        EXPECT_EQ(file.error().code, ErrorCode::kCorrupt) << file.error().message;
    }
}

// Counts against the bytes that are left, before any memory is taken.
TEST(GgufCounts, RefusesMoreTensorsThanFit) {
    expect_error(RawFile().header(kHuge, 0).zeros(100), ErrorCode::kCorrupt,
                 {at(8), std::to_string(kHuge) + " tensors do not fit in the 100 bytes"});
    expect_error(RawFile().header(2, 0).zeros(47), ErrorCode::kCorrupt, {at(8), "2 tensors"});
}

TEST(GgufCounts, RefusesMoreKeysThanFit) {
    expect_error(RawFile().header(0, std::uint64_t{1} << 62).zeros(100), ErrorCode::kCorrupt,
                 {at(16), "4611686018427387904 metadata keys do not fit in the 100 bytes"});
    expect_error(RawFile().header(0, 2).zeros(27), ErrorCode::kCorrupt, {at(16), "2 metadata"});
}

TEST(GgufCounts, RefusesMoreThanTheLimits) {
    expect_error(RawFile().header(0, kMaxKeyValues + 1).zeros(14 * (kMaxKeyValues + 1)),
                 ErrorCode::kUnsupported, {at(16), "more than the limit of 65536"});
    expect_error(RawFile().header(kMaxTensors + 1, 0).zeros(24 * (kMaxTensors + 1)),
                 ErrorCode::kUnsupported, {at(8), "more than the limit of 1048576"});
}

// Lengths of strings.
TEST(GgufStrings, RefusesAKeyLongerThanTheFile) {
    expect_error(RawFile().header(0, 1).u64(kHuge).zeros(20), ErrorCode::kCorrupt,
                 {"key #0 " + at(kHeader), "its name is " + std::to_string(kHuge) + " bytes",
                  "only 20 bytes follow"});
}

TEST(GgufStrings, RefusesAKeyLongerThanTheLimit) {
    expect_error(RawFile().header(0, 1).u64(65536).zeros(70000), ErrorCode::kUnsupported,
                 {"key #0 " + at(kHeader), "65536 bytes", "limit of 65535"});
}

TEST(GgufStrings, RefusesAnEmptyKey) {
    expect_error(RawFile().header(0, 1).key("", kU32).u32(1), ErrorCode::kCorrupt,
                 {"key #0 " + at(kHeader), "empty"});
}

TEST(GgufStrings, RefusesAValueLongerThanTheFile) {
    auto raw = RawFile().header(0, 1).key("general.name", kString);
    const auto offset = raw.size();
    raw.u64(11).text("ten bytes.");
    expect_error(raw, ErrorCode::kCorrupt,
                 {"key 'general.name' " + at(offset), "11 bytes long", "only 10 bytes follow"});
}

TEST(GgufStrings, RefusesAValueLongerThanTheLimit) {
    auto raw = RawFile().header(0, 1).key("general.name", kString);
    const auto offset = raw.size();
    raw.u64(kMaxStringBytes + 1).zeros(kMaxStringBytes + 1);
    expect_error(raw, ErrorCode::kUnsupported,
                 {"key 'general.name' " + at(offset), "limit of 67108864"});
}

// Arrays.
TEST(GgufArrays, RefusesMoreNumbersThanFit) {
    for (const std::uint64_t count : {std::uint64_t{3}, std::uint64_t{1} << 62, kHuge}) {
        auto raw = RawFile().header(0, 1).key("x.numbers", kArray);
        const auto offset = raw.size();
        raw.u32(kU32).u64(count).zeros(11);
        expect_error(raw, ErrorCode::kCorrupt,
                     {"key 'x.numbers' " + at(offset),
                      std::to_string(count) + " elements of type u32 do not fit in the 11 bytes"});
    }
}

TEST(GgufArrays, RefusesMoreStringsThanFit) {
    auto raw = RawFile().header(0, 1).key("x.words", kArray);
    const auto offset = raw.size();
    raw.u32(kString).u64(3).zeros(23);
    expect_error(raw, ErrorCode::kCorrupt,
                 {"key 'x.words' " + at(offset), "3 elements of type string do not fit in the 23"});
}

TEST(GgufArrays, RefusesMoreElementsThanTheLimit) {
    auto raw = RawFile().header(0, 1).key("x.numbers", kArray);
    const auto offset = raw.size();
    raw.u32(kU8).u64(kMaxArrayElements + 1).zeros(kMaxArrayElements + 1);
    expect_error(raw, ErrorCode::kUnsupported,
                 {"key 'x.numbers' " + at(offset), "limit of 67108864"});
}

TEST(GgufArrays, NamesTheElementThatIsTooLong) {
    auto raw = RawFile().header(0, 1).key("x.words", kArray).u32(kString).u64(2).string("fine");
    const auto offset = raw.size();
    raw.u64(kHuge - 7).zeros(16);
    expect_error(raw, ErrorCode::kCorrupt,
                 {"key 'x.words' " + at(offset), "element 1 is", "only 16 bytes follow"});
}

// Type ids.
TEST(GgufTypes, RefusesUnknownValueTypes) {
    for (const std::uint32_t type : {13u, 255u, 0xFFFFFFFFu}) {
        auto raw = RawFile().header(0, 1).string("x.y");
        const auto offset = raw.size();
        raw.u32(type).zeros(16);
        expect_error(raw, ErrorCode::kCorrupt,
                     {"key 'x.y' " + at(offset), "unknown value type " + std::to_string(type)});
    }
}

TEST(GgufTypes, RefusesUnknownElementTypes) {
    for (const std::uint32_t type : {13u, 0x80000000u}) {
        auto raw = RawFile().header(0, 1).key("x.y", kArray);
        const auto offset = raw.size();
        raw.u32(type).u64(1).zeros(16);
        expect_error(
            raw, ErrorCode::kCorrupt,
            {"key 'x.y' " + at(offset), "unknown array element type " + std::to_string(type)});
    }
}

TEST(GgufTypes, RefusesArraysOfArrays) {
    auto raw = RawFile().header(0, 1).key("x.y", kArray);
    const auto offset = raw.size();
    raw.u32(kArray).u64(1).u32(kU8).u64(0).zeros(8);
    expect_error(raw, ErrorCode::kUnsupported, {"key 'x.y' " + at(offset), "arrays of arrays"});
}

TEST(GgufTypes, RefusesBoolsOtherThan0And1) {
    auto raw = RawFile().header(0, 1).key("x.y", kBool);
    const auto offset = raw.size();
    raw.number(std::uint8_t{2});
    expect_error(raw, ErrorCode::kCorrupt, {"key 'x.y' " + at(offset), "2 is not a bool"});

    auto array = RawFile().header(0, 1).key("x.z", kArray).u32(kBool).u64(3);
    array.number(std::uint8_t{1}).number(std::uint8_t{0}).number(std::uint8_t{255});
    expect_error(array, ErrorCode::kCorrupt,
                 {"key 'x.z' " + at(array.size() - 1), "255 is not a bool"});
}

// Unique names.
TEST(GgufKeys, RefusesAKeyGivenTwice) {
    auto raw = RawFile().header(0, 3).key("x.y", kU32).u32(1).key("x.z", kU32).u32(1);
    const auto offset = raw.size();
    raw.key("x.y", kF32).number(1.0F);
    expect_error(raw, ErrorCode::kCorrupt, {"key 'x.y' " + at(offset), "already given at byte 24"});
}

TEST(GgufKeys, MessagesAreSafeToPrint) {
    const std::string name = "a\x1b[31m\xff\xc2\x9b\xe2\x82\xac" + std::string(200, 'x');
    expect_error(RawFile().header(0, 1).key(name, 13).zeros(8), ErrorCode::kCorrupt,
                 {"key 'a\\x1b[31m\\xff\\xc2\\x9b\xe2\x82\xacxxx", "xxx...' at"});
}

// The alignment.
TEST(GgufAlignment, MustBeAPowerOfTwoFrom8To1MiB) {
    for (const std::uint32_t alignment : {0u, 1u, 4u, 12u, 33u, 1u << 21, 1u << 31, 0xFFFFFFFFu})
        expect_error(RawFile().header(0, 1).key("general.alignment", kU32).u32(alignment),
                     ErrorCode::kCorrupt,
                     {"key 'general.alignment' " + at(kHeader),
                      std::to_string(alignment) + " is not a power of two"});
    for (const std::uint32_t alignment : {8u, 64u, 1u << 20}) {
        const auto raw = RawFile().header(0, 1).key("general.alignment", kU32).u32(alignment);
        EXPECT_TRUE(Gguf::parse(raw.bytes(), "x").has_value());
    }
}

TEST(GgufAlignment, MustBeAU32) {
    expect_error(RawFile().header(0, 1).key("general.alignment", kU64).u64(32), ErrorCode::kCorrupt,
                 {"key 'general.alignment' " + at(kHeader), "must be a u32, but is a u64"});
    expect_error(RawFile().header(0, 1).key("general.alignment", kString).string("32"),
                 ErrorCode::kCorrupt, {"must be a u32, but is a string"});
}

}  // namespace
}  // namespace potluck::model::gguf::test
