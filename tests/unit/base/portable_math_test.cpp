// The elementary functions against libm (how near) and against golden bits (the same everywhere and
// for ever: a change of one bit is a new arithmetic class, docs/arithmetic.md).

#include "base/portable_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

namespace potluck {
namespace {

/// Distance in units in the last place of `exact` rounded to f32.
double ulps_off(float actual, double exact) {
    const float nearest = static_cast<float>(exact);
    const float up = std::nextafter(std::fabs(nearest), std::numeric_limits<float>::infinity());
    const double unit = static_cast<double>(up) - std::fabs(static_cast<double>(nearest));
    return std::fabs(static_cast<double>(actual) - exact) / unit;
}

double ulps_off(double actual, long double exact) {
    const double nearest = static_cast<double>(exact);
    const double up = std::nextafter(std::fabs(nearest), std::numeric_limits<double>::infinity());
    return static_cast<double>(std::fabs(static_cast<long double>(actual) - exact) /
                               static_cast<long double>(up - std::fabs(nearest)));
}

TEST(PortableExpF32, IsWithinOneUnitOfLibm) {
    double worst = 0;
    for (int i = 0; i <= 250'000; ++i) {
        const float x =
            std::min(kExpMin + (kExpMax - kExpMin) * static_cast<float>(i) / 250'000, kExpMax);
        worst = std::max(worst, ulps_off(portable_exp(x), std::exp(static_cast<double>(x))));
    }
    EXPECT_LT(worst, 1.0);
    worst = 0;
    for (int i = -100'000; i <= 0; ++i) {  // where attention and SwiGLU live
        const float x = static_cast<float>(i) / 5'000;
        worst = std::max(worst, ulps_off(portable_exp(x), std::exp(static_cast<double>(x))));
    }
    EXPECT_LT(worst, 1.0);
}

TEST(PortableExpF32, Edges) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(portable_exp(0.0F), 1.0F);
    EXPECT_EQ(portable_exp(-0.0F), 1.0F);
    EXPECT_EQ(portable_exp(std::numeric_limits<float>::denorm_min()), 1.0F);
    EXPECT_EQ(portable_exp(-kInfinity), 0.0F);
    EXPECT_EQ(portable_exp(-1e30F), 0.0F);
    EXPECT_EQ(portable_exp(std::nextafter(kExpMin, -kInfinity)), 0.0F);
    EXPECT_GT(portable_exp(kExpMin), 0.0F);
    EXPECT_EQ(portable_exp(kInfinity), portable_exp(kExpMax));
    EXPECT_EQ(portable_exp(1e30F), portable_exp(kExpMax));
    EXPECT_TRUE(std::isfinite(portable_exp(kExpMax)));
    EXPECT_TRUE(std::isnan(portable_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(PortableExpF32, RisesWithItsArgument) {
    float before = 0;
    for (float x = -87; x < 88; x += 0.001F) {
        const float y = portable_exp(x);
        EXPECT_GE(y, before) << x;
        before = y;
    }
}

TEST(PortableExpF32, GoldenBits) {
    constexpr std::pair<float, std::uint32_t> kGolden[] = {
        {-0x1.5d3334p+6F, 0x0084C38BU},  {-0x1.9p+5F, 0x1B692BEBU},
        {-0x1.48p+4F, 0x30ABD1D8U},      {-0x1.4p+3F, 0x383E6BCEU},
        {-0x1.ap+1F, 0x3D1ED1B4U},       {-0x1p+0F, 0x3EBC5AB2U},
        {-0x1p-1F, 0x3F1B4598U},         {-0x1.99999ap-4F, 0x3F67A36DU},
        {-0x1.a36e2ep-14F, 0x3F7FF972U}, {0x1.0624dep-10F, 0x3F8020C9U},
        {0x1.333334p-2F, 0x3FACC82CU},   {0x1p+0F, 0x402DF854U},
        {0x1.5be76cp+1F, 0x4172665DU},   {0x1.4p+3F, 0x46AC14EFU},
        {0x1.5p+5F, 0x5DC1192BU},        {0x1.6p+6F, 0x7EF882B7U},
    };
    for (const auto& [x, bits] : kGolden)
        EXPECT_EQ(std::bit_cast<std::uint32_t>(portable_exp(x)), bits) << x;
}

TEST(PortableSilu, IsNearTheFormula) {
    for (int i = -30'000; i <= 30'000; ++i) {
        const float x = static_cast<float>(i) / 1000;
        const double exact = static_cast<double>(x) / (1 + std::exp(-static_cast<double>(x)));
        EXPECT_LT(ulps_off(portable_silu(x), exact), 3.0) << x;
    }
    EXPECT_EQ(portable_silu(0.0F), 0.0F);
    EXPECT_EQ(portable_silu(200.0F), 200.0F);
    EXPECT_NEAR(portable_silu(-200.0F), 0.0F, 1e-35F);
}

TEST(PortableExpF64, IsWithinTwoUnitsOfLibm) {
    double worst = 0;
    for (int i = -69'900; i <= 69'900; ++i) {
        const double x = i / 100.0 + 0.00123;
        worst = std::max(worst, ulps_off(portable_exp(x), std::exp(static_cast<long double>(x))));
    }
    EXPECT_LT(worst, 2.0);
    EXPECT_EQ(portable_exp(0.0), 1.0);
}

TEST(PortableLogF64, IsWithinTwoUnitsOfLibm) {
    double worst = 0;
    for (int i = 1; i < 50'000; ++i) {
        const double x = i * 0.731;
        worst = std::max(worst, ulps_off(portable_log(x), std::log(static_cast<long double>(x))));
    }
    for (int e = -1000; e <= 1000; ++e) {
        const double x = std::ldexp(1.37, e);
        worst = std::max(worst, ulps_off(portable_log(x), std::log(static_cast<long double>(x))));
    }
    EXPECT_LT(worst, 2.0);
    EXPECT_EQ(portable_log(1.0), 0.0);
    EXPECT_EQ(portable_log(2.0), 0x1.62e42fefa39efp-1);
}

TEST(PortableSinCos, IsWithin1e15OfLibmOverItsRange) {
    double worst = 0;
    const auto look = [&](double x) {
        const SinCos y = portable_sincos(x);
        const auto wide = static_cast<long double>(x);
        worst = std::max(worst, static_cast<double>(
                                    std::fabs(static_cast<long double>(y.sin) - std::sin(wide))));
        worst = std::max(worst, static_cast<double>(
                                    std::fabs(static_cast<long double>(y.cos) - std::cos(wide))));
    };
    for (int i = -50'000; i <= 50'000; ++i) {
        look(i * 0.00292);
        look(i * 1342.17);  // to 2^26
    }
    EXPECT_LT(worst, 1e-15);
}

TEST(PortableSinCos, QuartersAndSigns) {
    EXPECT_EQ(portable_sincos(0.0).sin, 0.0);
    EXPECT_EQ(portable_sincos(0.0).cos, 1.0);
    for (int i = 0; i < 1000; ++i) {
        const double x = i * 0.37;
        EXPECT_EQ(portable_sincos(-x).sin, -portable_sincos(x).sin);
        EXPECT_EQ(portable_sincos(-x).cos, portable_sincos(x).cos);
    }
}

TEST(PortableF64, GoldenBits) {
    const auto bits = [](double x) { return std::bit_cast<std::uint64_t>(x); };
    EXPECT_EQ(bits(portable_exp(-20.5)), 0x3E157A3AFEED00ACU);
    EXPECT_EQ(bits(portable_exp(-1.0)), 0x3FD78B56362CEF38U);
    EXPECT_EQ(bits(portable_exp(0.1)), 0x3FF1AEC7B35A00D4U);
    EXPECT_EQ(bits(portable_exp(1.0)), 0x4005BF0A8B145769U);
    EXPECT_EQ(bits(portable_exp(9.0)), 0x40BFA7157C470F82U);
    EXPECT_EQ(bits(portable_log(0.7)), 0xBFD6D3C324E13F4FU);
    EXPECT_EQ(bits(portable_log(3.0)), 0x3FF193EA7AAD030AU);
    EXPECT_EQ(bits(portable_log(1e4)), 0x40226BB1BBB55515U);
    EXPECT_EQ(bits(portable_log(1e6)), 0x402BA18A998FFFA0U);
    EXPECT_EQ(bits(portable_sincos(0.1).sin), 0x3FB98EAECB8BCB2CU);
    EXPECT_EQ(bits(portable_sincos(0.1).cos), 0x3FEFD712F9A817C1U);
    EXPECT_EQ(bits(portable_sincos(1.0).sin), 0x3FEAED548F090CEEU);
    EXPECT_EQ(bits(portable_sincos(1.0).cos), 0x3FE14A280FB5068CU);
    EXPECT_EQ(bits(portable_sincos(3.0).sin), 0x3FC210386DB6D55BU);
    EXPECT_EQ(bits(portable_sincos(3.0).cos), 0xBFEFAE04BE85E5D2U);
    EXPECT_EQ(bits(portable_sincos(100.25).sin), 0xBFD1BF00980DC35DU);
    EXPECT_EQ(bits(portable_sincos(100.25).cos), 0x3FEEBEC72BA6B0ECU);
    EXPECT_EQ(bits(portable_sincos(4095.0).sin), 0xBFEFEE26BF3A602EU);
    EXPECT_EQ(bits(portable_sincos(4095.0).cos), 0xBFB0E3CD8B89B3A2U);
    EXPECT_EQ(bits(portable_sincos(33554431.5).sin), 0xBFE81E3563C21999U);
    EXPECT_EQ(bits(portable_sincos(33554431.5).cos), 0xBFE5080D3C655FD9U);
}

}  // namespace
}  // namespace potluck
