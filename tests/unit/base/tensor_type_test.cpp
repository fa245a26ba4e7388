#include "base/tensor_type.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace potluck {
namespace {

TEST(TensorType, EveryOneIsFoundByIdAndByName) {
    std::set<std::uint32_t> ids;
    std::set<std::string_view> names;
    for (const auto& t : tensor_types()) {
        const auto id = static_cast<std::uint32_t>(t.type);
        EXPECT_TRUE(ids.insert(id).second);
        EXPECT_TRUE(names.insert(t.name).second);
        EXPECT_EQ(find_tensor_type(id), &t);
        EXPECT_EQ(&info(t.type), &t);
        EXPECT_EQ(to_string(t.type), t.name);
        EXPECT_EQ(parse_tensor_type(t.name), t.type);
        std::string lower(t.name);
        for (char& c : lower)
            c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        EXPECT_EQ(parse_tensor_type(lower), t.type);
        EXPECT_GT(t.block_bytes, 0U);
        EXPECT_TRUE(t.block_elements == 1 || t.block_elements == 32 || t.block_elements == 256);
    }
}

TEST(TensorType, UnknownIdsAndNamesAreNone) {
    for (const std::uint32_t id : {4U, 5U, 31U, 36U, 38U, 40U, 0xFFFFFFFFU})
        EXPECT_EQ(find_tensor_type(id), nullptr) << id;
    for (const char* name : {"", "Q4", "Q4_K ", "Q4_KX", "Q9_0"})
        EXPECT_EQ(parse_tensor_type(name), std::nullopt) << name;
}

// The sizes follow from the fields of each block: scales and mins in f16 (or packed in 6 or 8
// bits), then the quants.
TEST(TensorType, BlockSizesAreTheSumOfTheirFields) {
    struct Case {
        TensorType type;
        std::uint32_t bytes;
    };
    for (const Case c :
         {Case{TensorType::kQ4_0, 2 + 16}, Case{TensorType::kQ4_1, 2 + 2 + 16},
          Case{TensorType::kQ5_0, 2 + 4 + 16}, Case{TensorType::kQ5_1, 2 + 2 + 4 + 16},
          Case{TensorType::kQ8_0, 2 + 32}, Case{TensorType::kQ2_K, 16 + 64 + 2 + 2},
          Case{TensorType::kQ3_K, 32 + 64 + 12 + 2}, Case{TensorType::kQ4_K, 2 + 2 + 12 + 128},
          Case{TensorType::kQ5_K, 2 + 2 + 12 + 32 + 128},
          Case{TensorType::kQ6_K, 128 + 64 + 16 + 2}, Case{TensorType::kIQ4_NL, 2 + 16},
          Case{TensorType::kIQ4_XS, 2 + 2 + 4 + 128}, Case{TensorType::kMXFP4, 1 + 16}})
        EXPECT_EQ(info(c.type).block_bytes, c.bytes) << to_string(c.type);
}

TEST(TensorType, RowBytes) {
    EXPECT_EQ(row_bytes(TensorType::kF32, 5), 20U);
    EXPECT_EQ(row_bytes(TensorType::kQ8_0, 64), 68U);
    EXPECT_EQ(row_bytes(TensorType::kQ4_K, 4096), 2304U);
    EXPECT_EQ(row_bytes(TensorType::kF16, 0), 0U);
}

TEST(TensorTypeDeathTest, ARowIsWholeBlocks) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH((void)row_bytes(TensorType::kQ8_0, 33), "elements %");
}

}  // namespace
}  // namespace potluck
