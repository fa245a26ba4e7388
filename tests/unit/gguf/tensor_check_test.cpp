// One broken file for each check of the tensor table and the data section.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "model/gguf/checked.h"
#include "tests/unit/gguf/raw_file.h"

namespace potluck::model::gguf::test {
namespace {

constexpr std::uint64_t kHuge = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kTable = 24;         // where the first tensor record begins
constexpr std::size_t kDims = 24 + 8 + 1;  // its number of dimensions, if its name is one letter

RawFile one_tensor() {
    return RawFile().header(1, 0);
}

TEST(GgufTensors, RefusesNamesThatAreEmptyOrTooLong) {
    expect_error(one_tensor().tensor("", {32}, kTypeF32, 0).pad(32).zeros(128), ErrorCode::kCorrupt,
                 {"tensor #0 " + at(kTable), "empty"});
    expect_error(one_tensor().tensor(std::string(65, 'x'), {32}, kTypeF32, 0).pad(32).zeros(128),
                 ErrorCode::kUnsupported, {"tensor #0 " + at(kTable), "limit of 64"});
    expect_error(one_tensor().u64(kHuge).zeros(100), ErrorCode::kCorrupt,
                 {"tensor #0 " + at(kTable), "only 100 bytes follow"});
}

TEST(GgufTensors, NumbersThoseWithoutAName) {
    auto raw = RawFile().header(2, 0).tensor("a", {1}, kTypeF32, 0);
    const auto offset = raw.size();
    raw.u64(999).zeros(40);
    expect_error(raw, ErrorCode::kCorrupt, {"tensor #1 " + at(offset), "999 bytes"});
}

// Dimensions.
TEST(GgufDims, RefusesMoreThan4) {
    for (const std::uint32_t n : {5u, 0x7FFFFFFFu, 0xFFFFFFFFu})
        expect_error(one_tensor().string("w").u32(n).zeros(200), ErrorCode::kCorrupt,
                     {"tensor 'w' " + at(kDims), std::to_string(n) + " dimensions"});
}

TEST(GgufDims, RefusesZero) {
    expect_error(one_tensor().tensor("w", {32, 0}, kTypeF32, 0).zeros(64), ErrorCode::kCorrupt,
                 {"tensor 'w' " + at(kDims + 12), "dimension 1 is 0"});
    // A zero must not excuse the overflow of the others.
    expect_error(one_tensor().tensor("w", {0, kHuge, kHuge}, kTypeF32, 0).zeros(64),
                 ErrorCode::kCorrupt, {"tensor 'w' " + at(kDims + 4), "dimension 0 is 0"});
}

TEST(GgufDims, RefusesProductsBeyond63Bits) {
    constexpr std::uint64_t kMaxSigned = std::numeric_limits<std::int64_t>::max();
    expect_error(one_tensor().tensor("w", {kMaxSigned, 2}, kTypeF32, 0).zeros(64),
                 ErrorCode::kCorrupt, {"tensor 'w' " + at(kDims + 12), "63 bits"});
    expect_error(one_tensor().tensor("w", {std::uint64_t{1} << 63}, kTypeF32, 0).zeros(64),
                 ErrorCode::kCorrupt, {"tensor 'w' " + at(kDims + 4), "63 bits"});
    constexpr std::uint64_t kRoot = std::uint64_t{1} << 16;  // 2^64 wraps to 0
    expect_error(one_tensor().tensor("w", {kRoot, kRoot, kRoot, kRoot}, kTypeF32, 0).zeros(64),
                 ErrorCode::kCorrupt, {"tensor 'w' " + at(kDims + 28), "63 bits"});
}

TEST(GgufDims, NoneIsOneElement) {
    const auto raw = one_tensor().tensor("w", {}, kTypeF32, 0).pad(32).zeros(4);
    const auto file = Gguf::parse(raw.bytes(), "x");
    ASSERT_TRUE(file.has_value()) << file.error().message;
    EXPECT_EQ((*file)->tensors()[0].n_dims, 0u);
    EXPECT_EQ((*file)->tensors()[0].data.size(), 4u);
}

// Types.
TEST(GgufTensors, RefusesUnknownTypesByNumber) {
    for (const std::uint32_t type : {4u, 5u, 31u, 36u, 42u, 137u, 0xFFFFFFFFu})
        expect_error(one_tensor().tensor("w", {32}, type, 0).pad(32).zeros(64),
                     ErrorCode::kUnsupported,
                     {"tensor 'w' " + at(kDims + 12), "unknown tensor type " + std::to_string(type),
                      "known are 0 F32, 1 F16,", "14 Q6_K", "39 MXFP4"});
}

// Bytes.
TEST(GgufBytes, RefusesSizesThatWrap) {
    // 2^62 elements of 4 bytes are 2^64 bytes, which wrap to none.
    expect_error(one_tensor()
                     .tensor("w", {std::uint64_t{1} << 31, std::uint64_t{1} << 31}, kTypeF32, 0)
                     .zeros(64),
                 ErrorCode::kCorrupt, {"tensor 'w' " + at(kDims + 20), "64 bits"});
    expect_error(one_tensor().tensor("w", {std::uint64_t{1} << 62}, kTypeF32, 0).zeros(64),
                 ErrorCode::kCorrupt, {"tensor 'w' " + at(kDims + 12), "64 bits"});
}

// Whole blocks.
TEST(GgufBytes, RefusesRowsOfPartBlocks) {
    expect_error(one_tensor().tensor("w", {33, 32}, kTypeQ8_0, 0).pad(32).zeros(9999),
                 ErrorCode::kCorrupt,
                 {"tensor 'w' " + at(kDims + 20), "rows of 33 elements", "blocks of Q8_0"});
    expect_error(one_tensor().tensor("w", {}, kTypeQ8_0, 0).pad(32).zeros(9999),
                 ErrorCode::kCorrupt, {"rows of 1 elements"});
}

// Everything lies in the file.
TEST(GgufData, RefusesTensorsBeyondTheEnd) {
    const auto raw = one_tensor().tensor("w", {32}, kTypeF32, 0).pad(32).zeros(127);
    expect_error(raw, ErrorCode::kCorrupt,
                 {"tensor 'w' " + at(kTable), "128 bytes at data offset 0",
                  "file of " + std::to_string(raw.size())});
    expect_error(one_tensor().tensor("w", {32}, kTypeF32, 32).pad(32).zeros(159),
                 ErrorCode::kCorrupt, {"tensor 'w' " + at(kTable), "data offset 32"});
}

TEST(GgufData, RefusesOffsetsThatWrap) {
    for (const std::uint64_t offset : {kHuge - 31, kHuge - 63, kHuge - 127}) {
        const auto raw = one_tensor().tensor("w", {32}, kTypeF32, offset).pad(32).zeros(256);
        expect_error(raw, ErrorCode::kCorrupt,
                     {"tensor 'w' " + at(kTable), "data offset " + std::to_string(offset)});
    }
}

TEST(GgufData, RefusesMoreTensorBytesThanTheSection) {
    auto raw = RawFile().header(3, 0).tensor("a", {32}, kTypeF32, 0);
    raw.tensor("b", {32}, kTypeF32, 64);
    const auto offset = raw.size();
    raw.tensor("c", {32}, kTypeF32, 128).pad(32).zeros(256);
    expect_error(raw, ErrorCode::kCorrupt,
                 {"tensor 'c' " + at(offset), "more bytes than the 256 of the data section"});
}

TEST(GgufData, RefusesAFileWithoutItsDataSection) {
    const auto raw = one_tensor().tensor("w", {32}, kTypeF32, 0);
    ASSERT_NE(raw.size() % 32, 0u);
    expect_error(raw, ErrorCode::kCorrupt, {at(raw.size()), "before its data section"});
}

// Offsets.
TEST(GgufData, RefusesUnalignedOffsets) {
    auto raw = one_tensor().tensor("w", {32}, kTypeF32, 16).pad(32).zeros(256);
    expect_error(raw, ErrorCode::kCorrupt,
                 {"tensor 'w' " + at(kDims + 16), "16 is not a multiple of the alignment 32"});

    auto wide = RawFile().header(1, 1).key("general.alignment", kU32).u32(256);
    wide.tensor("w", {32}, kTypeF32, 32).pad(256).zeros(512);
    expect_error(wide, ErrorCode::kCorrupt, {"tensor 'w'", "multiple of the alignment 256"});
}

TEST(GgufData, RefusesOverlap) {
    auto raw = RawFile().header(2, 0).tensor("a", {32}, kTypeF32, 96);
    raw.tensor("b", {32}, kTypeF32, 0).pad(32);
    const auto data = raw.size();
    raw.zeros(512);
    expect_error(raw, ErrorCode::kCorrupt,
                 {"tensor 'a' " + at(data + 96), "overlaps tensor 'b'",
                  "bytes " + std::to_string(data) + " to " + std::to_string(data + 128)});

    auto same = RawFile().header(2, 0).tensor("a", {32}, kTypeF32, 0);
    same.tensor("b", {32}, kTypeF32, 0).pad(32).zeros(512);
    expect_error(same, ErrorCode::kCorrupt, {"overlaps"});
}

TEST(GgufData, RefusesATensorGivenTwice) {
    auto raw = RawFile().header(2, 0).tensor("w", {8}, kTypeF32, 0);
    const auto offset = raw.size();
    raw.tensor("w", {8}, kTypeF32, 32).pad(32).zeros(64);
    expect_error(raw, ErrorCode::kCorrupt,
                 {"tensor 'w' " + at(offset), "already declared at byte 24"});
}

TEST(GgufData, AcceptsAnyOrderAndGaps) {
    auto raw = RawFile().header(2, 0).tensor("late", {8}, kTypeF32, 128);
    raw.tensor("early", {8}, kTypeF32, 32).pad(32);
    const auto data = raw.size();
    raw.zeros(128).number(1.5F).zeros(28);
    const auto file = Gguf::parse(raw.bytes(), "x");
    ASSERT_TRUE(file.has_value()) << file.error().message;
    EXPECT_EQ((*file)->find_tensor("late")->offset, data + 128);
    EXPECT_EQ((*file)->find_tensor("early")->offset, data + 32);
    float first = 0;
    std::memcpy(&first, (*file)->find_tensor("late")->data.data(), sizeof first);
    EXPECT_EQ(first, 1.5F);
}

TEST(GgufChecked, ArithmeticDoesNotWrap) {
    EXPECT_EQ(checked_add(kHuge - 1, 1), kHuge);
    EXPECT_EQ(checked_add(kHuge, 1), std::nullopt);
    EXPECT_EQ(checked_multiply(std::uint64_t{1} << 32, (std::uint64_t{1} << 32) - 1),
              kHuge - (std::uint64_t{1} << 32) + 1);
    EXPECT_EQ(checked_multiply(std::uint64_t{1} << 32, std::uint64_t{1} << 32), std::nullopt);
    EXPECT_EQ(checked_round_up(0, 32), 0u);
    EXPECT_EQ(checked_round_up(33, 32), 64u);
    EXPECT_EQ(checked_round_up(kHuge - 31, 32), kHuge - 31);
    EXPECT_EQ(checked_round_up(kHuge - 30, 32), std::nullopt);
}

}  // namespace
}  // namespace potluck::model::gguf::test
