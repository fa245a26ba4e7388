#include "base/kv_type.h"

#include <gtest/gtest.h>

#include <string>

namespace potluck {
namespace {

TEST(KvTypeNames, AreReadBack) {
    EXPECT_EQ(kv_types().size(), kKvTypes);
    for (const KvType type : kv_types())
        EXPECT_EQ(parse_kv_type(to_string(type)), type);
    EXPECT_FALSE(parse_kv_type("q3_0"));
    EXPECT_FALSE(parse_kv_type(""));
    EXPECT_FALSE(parse_kv_type("Q8_0"));
}

TEST(KvTypeNames, OfBothSides) {
    const auto read = [](std::string_view text) {
        const auto types = parse_kv_types(text);
        return types ? to_string(*types) : "error: " + types.error().message;
    };
    EXPECT_EQ(read("q8_0"), "q8_0");
    EXPECT_EQ(read("k=q8_0,v=q4_0"), "k=q8_0,v=q4_0");
    EXPECT_EQ(read("v=q4_0,k=q8_0"), "k=q8_0,v=q4_0");
    EXPECT_EQ(read("v=turbo3"), "k=f16,v=turbo3");
    EXPECT_EQ(read("k=bf16,v=bf16"), "bf16");
    for (const char* bad : {"", "q9", "k=", "k=q9", "k=q8_0,", "k=q8_0,k=q8_0", "x=q8_0",
                            "k=q8_0,q4_0", "q8_0,q4_0", "k=q8_0 v=q4_0", ",", "="}) {
        const auto types = parse_kv_types(bad);
        ASSERT_FALSE(types) << bad;
        EXPECT_EQ(types.error().code, ErrorCode::kInvalidArgument);
        // Says what there is.
        EXPECT_NE(types.error().message.find("turbo3"), std::string::npos) << bad;
    }
}

TEST(KvTypeSizes, AreThoseOfTheBlocks) {
    EXPECT_EQ(kv_row_bytes(KvType::kF16, 33), 66U);
    EXPECT_EQ(kv_row_bytes(KvType::kBF16, 128), 256U);
    EXPECT_EQ(kv_row_bytes(KvType::kQ8_0, 128), 4U * 34);
    EXPECT_EQ(kv_row_bytes(KvType::kQ5_0, 128), 4U * 22);
    EXPECT_EQ(kv_row_bytes(KvType::kQ4_0, 96), 3U * 18);
    EXPECT_EQ(kv_row_bytes(KvType::kTurbo3, 128), 50U);
    EXPECT_EQ(kv_row_bytes(KvType::kTurbo3, 256), 100U);
    EXPECT_EQ(kv_row_bytes(KvType::kTurbo3, 64), 26U);
    EXPECT_EQ(kv_row_bytes(KvType::kTurbo3, 96), 3U * 14);
}

TEST(KvTypeSizes, RotationIsAPowerOfTwoThatDividesAHead) {
    EXPECT_EQ(kv_rotation(KvType::kF16, 128), 0U);
    EXPECT_EQ(kv_rotation(KvType::kQ8_0, 128), 0U);
    EXPECT_EQ(kv_rotation(KvType::kQ4_0, 128), 128U);
    EXPECT_EQ(kv_rotation(KvType::kQ4_0, 256), 128U);
    EXPECT_EQ(kv_rotation(KvType::kQ5_0, 192), 64U);
    EXPECT_EQ(kv_rotation(KvType::kTurbo3, 96), 32U);
}

TEST(KvTypeSizes, HeadsThatDoNotFit) {
    EXPECT_TRUE(check_kv_types({}, 80));
    EXPECT_TRUE(check_kv_type(KvType::kBF16, 1));
    EXPECT_TRUE(check_kv_type(KvType::kTurbo3, 96));
    const auto bad = check_kv_types({KvType::kF16, KvType::kQ4_0}, 80);
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, ErrorCode::kUnsupported);
    EXPECT_EQ(bad.error().message,
              "KV type q4_0 needs heads of a multiple of 32 values, the model has 80");
}

}  // namespace
}  // namespace potluck
