// Activations as int8 blocks: the rule of docs/arithmetic.md, and all instruction sets alike.

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/activations.h"
#include "weights_support.h"

namespace potluck::kernels::cpu::testing {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

ActivationBlock quantize_one(Isa isa, const float (&x)[32]) {
    ThreadPool pool(1);
    const AlignedBuffer out = prepare(isa, pool, TensorType::kQ8_0, x, 32);
    ActivationBlock block;
    std::memcpy(&block, out.data(), sizeof block);
    return block;
}

class WeightsQuantize : public ::testing::TestWithParam<Isa> {
  protected:
    void SetUp() override { POTLUCK_SKIP_WITHOUT(GetParam()); }
};

TEST_P(WeightsQuantize, RoundsTiesToEvenAndSums) {
    // The largest is 127 and most values are whole, so d = 1 has the least error and the quants are
    // the values rounded.
    float x[32] = {127, -127, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -2.5F, 100.49F, -100.51F};
    for (int i = 10; i < 32; ++i)
        x[i] = static_cast<float>(i % 2 == 0 ? 3 * i : -3 * i);
    const ActivationBlock b = quantize_one(GetParam(), x);
    const std::int8_t wanted[10] = {127, -127, 0, 2, 2, 0, -2, -2, 100, -101};
    EXPECT_EQ(b.d, 1.0F);
    EXPECT_EQ(0, std::memcmp(b.q, wanted, sizeof wanted));
    EXPECT_EQ(b.q[16], 48);
    EXPECT_EQ(b.q[31], -93);
    EXPECT_EQ(b.sum[0], -1 - 3 * 3);  // 30 - 33 + 36 - 39 + 42 - 45 beside the ten
    EXPECT_EQ(b.sum[1], -3 * 8);
    EXPECT_EQ(b.s, -34.0F);
}

TEST_P(WeightsQuantize, TakesTheScaleOfTheLeastError) {
    for (int k = 0; k < kScaleCandidates; ++k) {
        // Multiples of 2^-8 up to 127 - k of them: only that scale meets them all.
        float x[32];
        for (int i = 0; i < 32; ++i)
            x[i] = static_cast<float>((i * 37) % (127 - k)) * 0x1.0p-8F;
        x[5] = -static_cast<float>(127 - k) * 0x1.0p-8F;
        const ActivationBlock b = quantize_one(GetParam(), x);
        EXPECT_EQ(b.d, 0x1.0p-8F) << k;
        EXPECT_EQ(b.q[5], k - 127);
        for (int i = 0; i < 32; ++i)
            EXPECT_EQ(static_cast<float>(b.q[i]) * b.d, x[i]);
    }
}

TEST_P(WeightsQuantize, ZerosGiveZeros) {
    float x[32] = {};
    x[3] = -0.0F;
    const ActivationBlock b = quantize_one(GetParam(), x);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(b.d), 0U);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(b.s), 0U);
    for (const auto q : b.q)
        EXPECT_EQ(q, 0);
}

TEST_P(WeightsQuantize, NanNeverWinsAndBecomesTheLowest) {
    float x[32] = {1, kNan, -2, kNan};
    x[31] = -kNan;
    const ActivationBlock b = quantize_one(GetParam(), x);
    EXPECT_EQ(b.d, 2.0F / 127.0F);
    EXPECT_EQ(b.q[1], -127);
    EXPECT_EQ(b.q[3], -127);
    EXPECT_EQ(b.q[31], -127);
    EXPECT_EQ(b.q[2], -127);
    EXPECT_EQ(b.q[4], 0);
    float all[32];
    for (auto& value : all)
        value = kNan;
    const ActivationBlock n = quantize_one(GetParam(), all);
    EXPECT_EQ(n.d, 0.0F);
    EXPECT_EQ(n.q[0], -127);
    EXPECT_EQ(n.sum[0], -127 * 16);
}

TEST_P(WeightsQuantize, InfinityMakesInfiniteScale) {
    const float x[32] = {kInfinity, 1, -kInfinity};
    const ActivationBlock b = quantize_one(GetParam(), x);
    EXPECT_EQ(b.d, kInfinity);
    EXPECT_EQ(b.q[0], -127);  // inf * 0 is NaN
    EXPECT_EQ(b.q[1], 0);
    EXPECT_EQ(b.q[2], -127);
}

TEST_P(WeightsQuantize, SubnormalsAreNotFlushed) {
    float x[32] = {};
    x[0] = 0x1.0p-149F;  // d underflows to 0, so nothing is left
    EXPECT_EQ(quantize_one(GetParam(), x).q[0], 0);
    x[0] = 0x1.0p-130F;  // d is subnormal, 1 / d overflows
    const ActivationBlock b = quantize_one(GetParam(), x);
    EXPECT_GT(b.d, 0.0F);
    EXPECT_EQ(b.q[0], 127);
    EXPECT_EQ(b.q[1], -127);  // 0 * inf is NaN
}

TEST_P(WeightsQuantize, HasTheBitsOfTheReference) {
    std::mt19937_64 random(1);
    for (const std::size_t columns : {32U, 96U, 1024U, 9216U})
        for (const std::size_t rows : {1U, 2U, 3U, 4U, 5U, 33U}) {
            auto x = random_activations(columns, rows, random);
            for (std::size_t i = 0; i < x.size(); i += 97)  // any bits at all
                x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
            ThreadPool one(1);
            ThreadPool three(3);
            const auto wanted = prepare(Isa::kScalar, one, TensorType::kQ8_0, x, columns);
            const auto got = prepare(GetParam(), three, TensorType::kQ8_0, x, columns);
            ASSERT_EQ(got.size(), wanted.size());
            EXPECT_EQ(0, std::memcmp(got.data(), wanted.data(), got.size()))
                << rows << " x " << columns;
        }
}

TEST(WeightsActivations, SizesInBytes) {
    for (const Isa isa : kAllIsas) {
        const auto bytes = weight_kernels(isa).activation_bytes;
        EXPECT_EQ(bytes(ActivationForm::kF32, 3, 100), 1200U);
        EXPECT_GE(bytes(ActivationForm::kInt8x32, 3, 64), 3U * 2 * 40);
        EXPECT_EQ(bytes(ActivationForm::kInt8x32, 0, 64), 0U);
    }
}

INSTANTIATE_TEST_SUITE_P(Isas, WeightsQuantize, ::testing::ValuesIn(kAllIsas),
                         [](const auto& test) { return std::string(to_string(test.param)); });

}  // namespace
}  // namespace potluck::kernels::cpu::testing
