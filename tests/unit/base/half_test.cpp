// f16 and bf16 conversions, all of them, against a definition and against the processor's own.

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/portable_math.h"
#include "base/rng.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace potluck {
namespace {

std::uint32_t bits(float f) {
    return std::bit_cast<std::uint32_t>(f);
}

bool is_nan(std::uint16_t h) {
    return (h & 0x7FFF) > 0x7C00;
}

/// What IEEE 754 says a half means.
double meaning(std::uint16_t h) {
    const int exponent = (h >> 10) & 31;
    const double mantissa = h & 1023;
    const double magnitude = exponent == 31  ? std::numeric_limits<double>::infinity()
                             : exponent == 0 ? std::ldexp(mantissa, -24)
                                             : std::ldexp(1024 + mantissa, exponent - 25);
    return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST(Half, EveryHalfMeansWhatTheStandardSays) {
    for (std::uint32_t i = 0; i < 65536; ++i) {
        const auto h = static_cast<std::uint16_t>(i);
        if (is_nan(h)) {
            EXPECT_TRUE(std::isnan(half_to_float(h)));
            continue;
        }
        EXPECT_EQ(static_cast<double>(half_to_float(h)), meaning(h)) << i;
        EXPECT_EQ(std::signbit(half_to_float(h)), (h & 0x8000) != 0) << i;
    }
}

TEST(Half, EveryHalfComesBack) {
    for (std::uint32_t i = 0; i < 65536; ++i) {
        const auto h = static_cast<std::uint16_t>(i);
        const std::uint16_t expected = is_nan(h) ? static_cast<std::uint16_t>(h | 0x200) : h;
        EXPECT_EQ(float_to_half(half_to_float(h)), expected) << i;
    }
}

/// Between every two neighbours: the middle goes to the even one, either side of it to its own.
TEST(Half, TiesGoToEven) {
    for (std::uint32_t i = 0; i < 0x7BFF; ++i) {
        const auto low = static_cast<std::uint16_t>(i);
        const auto high = static_cast<std::uint16_t>(i + 1);
        const float middle = static_cast<float>(
            (static_cast<double>(half_to_float(low)) + static_cast<double>(half_to_float(high))) /
            2);
        const std::uint16_t even = (i & 1) == 0 ? low : high;
        EXPECT_EQ(float_to_half(middle), even) << i;
        EXPECT_EQ(float_to_half(-middle), even | 0x8000) << i;
        EXPECT_EQ(float_to_half(std::nextafter(middle, 0.0F)), low) << i;
        EXPECT_EQ(float_to_half(std::nextafter(middle, 1e9F)), high) << i;
    }
}

TEST(Half, TooLargeIsInfinity) {
    EXPECT_EQ(float_to_half(65504.0F), 0x7BFF);
    EXPECT_EQ(float_to_half(std::nextafter(65520.0F, 0.0F)), 0x7BFF);
    EXPECT_EQ(float_to_half(65520.0F), 0x7C00);
    EXPECT_EQ(float_to_half(-1e30F), 0xFC00);
    EXPECT_EQ(float_to_half(std::numeric_limits<float>::infinity()), 0x7C00);
    EXPECT_EQ(float_to_half(0.0F), 0);
    EXPECT_EQ(float_to_half(-0.0F), 0x8000);
    EXPECT_EQ(float_to_half(std::numeric_limits<float>::denorm_min()), 0);
}

#if defined(__x86_64__)

__attribute__((target("avx,f16c"))) void processor_to_float(const std::uint16_t* h, float* f) {
    _mm256_storeu_ps(f, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(h))));
}
__attribute__((target("avx,f16c"))) void processor_to_half(const float* f, std::uint16_t* h) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(h),
                     _mm256_cvtps_ph(_mm256_loadu_ps(f), _MM_FROUND_TO_NEAREST_INT));
}

/// Not __builtin_cpu_supports("f16c"), which clang 14 does not know; every AVX2 processor has it.
bool processor_converts() {
    return __builtin_cpu_supports("avx2");
}

TEST(HalfProcessor, EveryHalfToFloat) {
    if (!processor_converts()) GTEST_SKIP() << "SKIPPED: this processor has no F16C";
    for (std::uint32_t i = 0; i < 65536; i += 8) {
        std::array<std::uint16_t, 8> h = {};
        std::array<float, 8> f = {};
        for (std::uint32_t j = 0; j < 8; ++j)
            h[j] = static_cast<std::uint16_t>(i + j);
        processor_to_float(h.data(), f.data());
        for (std::size_t j = 0; j < 8; ++j)
            EXPECT_EQ(bits(half_to_float(h[j])), bits(f[j])) << h[j];
    }
}

TEST(HalfProcessor, FloatsOfEveryExponentToHalf) {
    if (!processor_converts()) GTEST_SKIP() << "SKIPPED: this processor has no F16C";
    for (std::uint32_t i = 0; i < 1'000'000; i += 8) {
        std::array<float, 8> f = {};
        std::array<std::uint16_t, 8> h = {};
        for (std::uint32_t j = 0; j < 8; ++j) {
            // All signs and exponents in turn; the mantissa near ties half of the time.
            std::uint32_t mantissa = philox4x32({i + j}, {1, 2})[0] & 0x7FFFFF;
            if (j % 2 == 0) mantissa = (mantissa & 0x7FE000) | (0x1000 + (mantissa & 3) - 1);
            f[j] = std::bit_cast<float>((i + j) % 512 << 23 | mantissa);
        }
        processor_to_half(f.data(), h.data());
        for (std::size_t j = 0; j < 8; ++j)
            ASSERT_EQ(float_to_half(f[j]), h[j]) << std::hex << bits(f[j]);
    }
}

#endif

TEST(Bfloat16, IsTheUpperHalfOfAFloat) {
    EXPECT_EQ(bfloat16_to_float(0x3F80), 1.0F);
    EXPECT_EQ(bfloat16_to_float(0xC000), -2.0F);
    for (std::uint32_t i = 0; i < 65536; ++i)
        EXPECT_EQ(bits(bfloat16_to_float(static_cast<std::uint16_t>(i))), i << 16);
}

}  // namespace
}  // namespace potluck
