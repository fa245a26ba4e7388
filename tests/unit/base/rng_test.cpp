#include "base/rng.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>

namespace potluck {
namespace {

using Counter = std::array<std::uint32_t, 4>;

// The known answers for Philox 4x32-10 that the authors of the paper publish (Random123,
// kat_vectors).
TEST(Philox, KnownAnswers) {
    EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
              (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(
        philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
        (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(
        philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
        (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, IsInRangeAndRepeatable) {
    double sum = 0;
    std::set<double> seen;
    for (std::uint64_t i = 0; i < 10'000; ++i) {
        const double u = uniform(42, i);
        EXPECT_GE(u, 0.0);
        EXPECT_LT(u, 1.0);
        EXPECT_EQ(u, uniform(42, i));
        sum += u;
        seen.insert(u);
    }
    EXPECT_NEAR(sum / 10'000, 0.5, 0.01);
    EXPECT_EQ(seen.size(), 10'000U);
}

TEST(Uniform, EveryPartOfItsNameCounts) {
    const std::uint64_t high = std::uint64_t{1} << 32;
    const std::set<double> draws = {uniform(1, 1),    uniform(2, 1),        uniform(1, 2),
                                    uniform(1, 1, 1), uniform(1 + high, 1), uniform(1, 1 + high)};
    EXPECT_EQ(draws.size(), 6U);
}

TEST(Uniform, IsTheFirstTwoWordsOfThePhiloxBlock) {
    const auto r = philox4x32({7, 0, 3, 0}, {9, 0});
    const std::uint64_t all = std::uint64_t{r[0]} << 32 | r[1];
    EXPECT_EQ(uniform(9, 7, 3), static_cast<double>(all >> 11) / 9007199254740992.0);
}

}  // namespace
}  // namespace potluck
