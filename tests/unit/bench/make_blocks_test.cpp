#include "bench/make_blocks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "base/portable_math.h"
#include "kernels/cpu/gguf_blocks.h"
#include "tests/unit/bench/support.h"

namespace potluck::bench {
namespace {

using enum TensorType;

const std::vector<TensorType> kTypes = {kF32,  kF16,    kBF16,   kQ8_0, kQ4_0, kQ4_1,
                                        kQ5_0, kQ5_1,   kQ2_K,   kQ3_K, kQ4_K, kQ5_K,
                                        kQ6_K, kIQ4_NL, kIQ4_XS, kMXFP4};

class MakeBlocks : public ::testing::TestWithParam<TensorType> {};

TEST_P(MakeBlocks, HasTheDeviationAndTheMeanWanted) {
    const TensorType type = GetParam();
    std::vector<std::byte> bytes(row_bytes(type, 1 << 18));
    RandomBits bits(7);
    BlockMaker(type).fill(bits, bytes);
    const auto values = dequantize(type, bytes);
    ASSERT_EQ(values.size(), std::size_t{1} << 18);
    const auto [mean, deviation] = moments(values);
    // Blocks share a scale, so that a quarter of a million values are as good as some thousands.
    EXPECT_NEAR(mean, 0, 0.0004);
    EXPECT_NEAR(deviation, kWeightDeviation, 0.0004);
    for (const float v : values)
        ASSERT_LT(std::abs(v), 0.2F);
}

INSTANTIATE_TEST_SUITE_P(Types, MakeBlocks, ::testing::ValuesIn(kTypes),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST(MakeBlocks, UsesEveryScaleAndEveryMinimumOfTheKTypes) {
    std::vector<std::byte> bytes(row_bytes(kQ4_K, 256 * 4096));
    RandomBits bits(3);
    BlockMaker(kQ4_K).fill(bits, bytes);
    std::vector<std::size_t> seen(64, 0);
    for (std::size_t at = 0; at < bytes.size(); at += info(kQ4_K).block_bytes)
        for (std::size_t sub = 0; sub < 8; ++sub) {
            const auto k = kernels::cpu::k4_scale(bytes.data() + at + 4, sub);
            EXPECT_EQ(k.scale, k.min);
            ++seen[static_cast<std::size_t>(k.scale)];
        }
    for (std::size_t scale = 0; scale < 64; ++scale)
        EXPECT_EQ(seen[scale] > 0, scale >= 32) << scale;
}

TEST(MakeBlocks, NeverWritesTheByteThatHasNoOpposite) {
    std::vector<std::byte> bytes(row_bytes(kQ8_0, 32 * 4096));
    RandomBits bits(3);
    BlockMaker(kQ8_0).fill(bits, bytes);
    for (std::size_t at = 0; at < bytes.size(); at += 34)
        for (std::size_t i = 2; i < 34; ++i)
            ASSERT_NE(bytes[at + i], std::byte{0x80});
}

TEST(MakeBlocks, NormsAreNearOne) {
    std::vector<std::byte> bytes(4 * 1024);
    RandomBits bits(5);
    fill_norm(bits, bytes);
    const auto [mean, deviation] = moments(dequantize(kF32, bytes));
    EXPECT_NEAR(mean, 1, 0.004);
    EXPECT_NEAR(deviation, kWeightDeviation, 0.002);
}

TEST(MakeBlocks, KnowsWhatItCanMake) {
    for (const auto& type : tensor_types())
        EXPECT_EQ(BlockMaker::knows(type.type), type.weight) << type.name;
}

}  // namespace
}  // namespace potluck::bench
