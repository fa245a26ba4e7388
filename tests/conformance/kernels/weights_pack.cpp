// Packing: row ranges, sizes, embedding from every layout, and what is refused.

#include <fmt/format.h>

#include <cstring>

#include "weights_support.h"

namespace potluck::kernels::cpu::testing {
namespace {

class WeightsPack : public ::testing::TestWithParam<std::tuple<Isa, TensorType>> {};

std::vector<float> embed(Isa isa, ThreadPool& pool, const PackedWeight& weight,
                         std::span<const std::int32_t> tokens) {
    std::vector<float> out(tokens.size() * weight.columns(), -1.0F);
    weight_kernels(isa).embed(
        pool,
        {.weight = &weight, .tokens = tokens.data(), .n_rows = tokens.size(), .out = out.data()});
    return out;
}

TEST_P(WeightsPack, EmbeddingHasTheBitsOfTheReference) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    for (const auto range : {ScaleRange::kUsual, ScaleRange::kAnyFinite}) {
        std::mt19937_64 random(5);
        ThreadPool pool(3);
        const auto bytes = random_weights(type, 512, 37, range, random);
        const auto scalar = pack(Isa::kScalar, pool, bytes, type, 512, {0, 37});
        const auto packed = pack(isa, pool, bytes, type, 512, {0, 37});
        const std::vector<std::int32_t> tokens = {0, 36, 15, 16, 17, 31, 32, 36, 1, 8};
        EXPECT_EQ("", difference(embed(isa, pool, *packed, tokens),
                                 embed(Isa::kScalar, pool, *scalar, tokens)));
    }
}

TEST_P(WeightsPack, EmbeddingOfTokensOutsideIsZeros) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(6);
    ThreadPool pool(1);
    const auto bytes = random_weights(type, 256, 3, ScaleRange::kUsual, random);
    const auto packed = pack(isa, pool, bytes, type, 256, {0, 3});
    const std::vector<std::int32_t> tokens = {-1, 3, 15, 2147483647, -2147483647 - 1};
    const auto out = embed(isa, pool, *packed, tokens);
    EXPECT_EQ("", difference(out, std::vector<float>(out.size(), 0.0F)));
}

TEST_P(WeightsPack, RangeEqualsTheSliceOfTheWhole) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(8);
    ThreadPool pool(2);
    constexpr std::size_t kRows = 50;
    const auto bytes = random_weights(type, 256, kRows, ScaleRange::kUsual, random);
    const auto x = random_activations(256, 5, random);
    const auto whole = pack(isa, pool, bytes, type, 256, {0, kRows});
    const auto all = multiply(isa, pool, *whole, x, {});
    for (const RowRange range : {RowRange{0, 1}, {3, 20}, {16, 32}, {33, 50}, {49, 50}}) {
        const auto part = pack(isa, pool, bytes, type, 256, range);
        ASSERT_NE(part, nullptr);
        const std::size_t rows = range.end - range.begin;
        EXPECT_EQ(part->rows(), rows);
        const auto got = multiply(isa, pool, *part, x, {});
        for (std::size_t row = 0; row < 5; ++row)
            EXPECT_EQ("", difference(std::span(got).subspan(row * rows, rows),
                                     std::span(all).subspan(row * kRows + range.begin, rows)));
    }
}

TEST_P(WeightsPack, SaysItsSizeAndStaysNearTheFiles) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(9);
    ThreadPool pool(1);
    const auto bytes = random_weights(type, 1024, 64, ScaleRange::kUsual, random);
    const auto weight = pack(isa, pool, bytes, type, 1024, {0, 64});
    EXPECT_EQ(weight->type(), type);
    EXPECT_EQ(weight->columns(), 1024U);
    EXPECT_EQ(weight->bytes(), weight_kernels(isa).packed_bytes(type, 1024, 64));
    EXPECT_LE(static_cast<double>(weight->bytes()), 1.1 * static_cast<double>(bytes.size()));
}

// GGUF data has no alignment.
TEST_P(WeightsPack, ReadsUnalignedBytes) {
    const auto [isa, type] = GetParam();
    POTLUCK_SKIP_WITHOUT(isa);
    std::mt19937_64 random(10);
    ThreadPool pool(1);
    const auto bytes = random_weights(type, 256, 5, ScaleRange::kUsual, random);
    std::vector<std::byte> shifted(bytes.size() + 1);
    std::memcpy(shifted.data() + 1, bytes.data(), bytes.size());
    const auto x = random_activations(256, 2, random);
    const auto a = pack(isa, pool, bytes, type, 256, {0, 5});
    const auto b = pack(isa, pool, std::span(shifted).subspan(1), type, 256, {0, 5});
    EXPECT_EQ("", difference(multiply(isa, pool, *b, x, {}), multiply(isa, pool, *a, x, {})));
}

TEST_P(WeightsPack, RefusesWhatDoesNotFit) {
    const auto [isa, type] = GetParam();
    const WeightKernels& kernels = weight_kernels(isa);
    ThreadPool pool(1);
    WeightArena arena;
    const std::vector<std::byte> bytes(4 * row_bytes(type, 256));
    const auto refused = [&](std::span<const std::byte> b, std::size_t columns, RowRange range,
                             std::string_view says) {
        const auto result = kernels.pack(pool, arena, b, type, columns, range);
        ASSERT_FALSE(result) << says;
        EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(result.error().message.find(says), std::string::npos) << result.error().message;
    };
    refused(std::span(bytes).first(bytes.size() - 1), 256, {0, 3}, "whole rows of 256 columns");
    refused(bytes, 256, {0, 5}, "rows [0, 5)");
    refused(bytes, 256, {3, 2}, "rows [3, 2)");
    refused(bytes, 0, {0, 1}, "0 columns");
    if (info(type).block_elements > 1) refused(bytes, 16, {0, 1}, "16 columns");
    refused({}, 256, {0, 1}, "has 0 rows");
}

INSTANTIATE_TEST_SUITE_P(Types, WeightsPack,
                         ::testing::Combine(::testing::ValuesIn(kAllIsas),
                                            ::testing::ValuesIn(weight_types())),
                         [](const auto& test) {
                             return fmt::format("{}_{}", to_string(std::get<0>(test.param)),
                                                to_string(std::get<1>(test.param)));
                         });

TEST(WeightsUnsupported, NamesTheTypeAndThoseThatWork) {
    for (const Isa isa : kAllIsas) {
        const WeightKernels& kernels = weight_kernels(isa);
        const auto why = kernels.unsupported(TensorType::kIQ2_XXS, 256);
        ASSERT_TRUE(why);
        EXPECT_NE(why->find("IQ2_XXS"), std::string::npos) << *why;
        EXPECT_NE(why->find("Q4_K"), std::string::npos) << *why;
        EXPECT_NE(why->find("MXFP4"), std::string::npos) << *why;
        EXPECT_TRUE(kernels.unsupported(TensorType::kQ4_K, 100));
        EXPECT_FALSE(kernels.unsupported(TensorType::kQ4_K, 512));
        EXPECT_FALSE(kernels.unsupported(TensorType::kF16, 1));
        ThreadPool pool(1);
        WeightArena arena;
        const std::vector<std::byte> bytes(66);
        const auto result = kernels.pack(pool, arena, bytes, TensorType::kIQ2_XXS, 256, {0, 1});
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
    }
}

}  // namespace
}  // namespace potluck::kernels::cpu::testing
