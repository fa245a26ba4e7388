#pragma once

// Elementary functions whose bits are the same on every CPU and in every build: only IEEE +, *, /,
// fma and integer operations, in a written order. libm is not used because its results differ
// between versions and processors. These scalar forms define the arithmetic of docs/arithmetic.md;
// vector files repeat the same operations lane by lane.

#include <bit>
#include <cmath>
#include <cstdint>

namespace potluck {

inline constexpr float kExpMax = 88.0F;          ///< larger arguments are clamped to this
inline constexpr float kExpMin = -87.33654F;     ///< smaller arguments give 0
inline constexpr float kExpRound = 12582912.0F;  ///< 1.5 * 2^23: adding it rounds to an integer
inline constexpr float kLog2E = 1.44269504F;
inline constexpr float kLn2High = 0.693359375F;    ///< 9 bits of ln 2: n * this is exact
inline constexpr float kLn2Low = -2.12194440e-4F;  ///< the rest of ln 2
/// 1 + r + r^2/2! + … to r^7, highest first; |r| <= ln(2)/2, error below one unit in the last
/// place.
inline constexpr float kExpPolynomial[8] = {1.0F / 5040, 1.0F / 720, 1.0F / 120, 1.0F / 24,
                                            1.0F / 6,    0.5F,       1.0F,       1.0F};

/// e^x in f32. NaN gives NaN.
inline float portable_exp(float x) {
    if (x < kExpMin) return 0.0F;
    const float clamped = x < kExpMax ? x : (x >= kExpMax ? kExpMax : x);
    const float shifted = std::fma(clamped, kLog2E, kExpRound);
    const float n = shifted - kExpRound;
    float r = std::fma(n, -kLn2High, clamped);
    r = std::fma(n, -kLn2Low, r);
    float p = kExpPolynomial[0];
    for (int i = 1; i < 8; ++i)
        p = std::fma(p, r, kExpPolynomial[i]);
    // The low bits of `shifted` are n as an integer: 2^n is built from them without a conversion.
    const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) + 127U) << 23;
    return p * std::bit_cast<float>(exponent);
}

/// x / (1 + e^-x).
inline float portable_silu(float x) {
    return x / (1.0F + portable_exp(-x));
}

/// e^x in f64 for |x| < 700, by Taylor's series to the 14th power after reduction by ln 2.
inline double portable_exp(double x) {
    const double n = std::nearbyint(x * 0x1.71547652b82fep+0);
    double r = std::fma(n, -0x1.62e42fee00000p-1, x);
    r = std::fma(n, -0x1.a39ef35793c76p-33, r);
    double p = 0;
    double inverse_factorial[15];
    inverse_factorial[0] = 1;
    for (int i = 1; i < 15; ++i)
        inverse_factorial[i] = inverse_factorial[i - 1] / i;
    for (int i = 14; i >= 0; --i)
        p = std::fma(p, r, inverse_factorial[i]);
    return std::ldexp(p, static_cast<int>(n));
}

/// ln x in f64 for finite x > 0: 2 artanh((m-1)/(m+1)) + e ln 2 with x = m 2^e, m in [√½, √2).
inline double portable_log(double x) {
    int exponent = 0;
    double m = std::frexp(x, &exponent);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        --exponent;
    }
    const double s = (m - 1) / (m + 1);
    const double s2 = s * s;
    double p = 0;
    for (int k = 25; k >= 1; k -= 2)
        p = std::fma(p, s2, 1.0 / k);
    return std::fma(static_cast<double>(exponent), 0x1.62e42fefa39efp-1, 2 * s * p);
}

struct SinCos {
    double sin;
    double cos;
};

/// sin and cos in f64 for |x| < 2^26 (rotary positions times frequencies), by Taylor's series to
/// the 18th power after reduction by π/2 in three parts.
inline SinCos portable_sincos(double x) {
    const double k = std::nearbyint(x * 0x1.45f306dc9c883p-1);
    double r = std::fma(k, -0x1.921fb54400000p+0, x);
    r = std::fma(k, -0x1.0b4611a600000p-34, r);
    r = std::fma(k, -0x1.3198a2e037073p-69, r);
    const double r2 = r * r;
    double s = 0;
    double c = 0;
    double inverse_factorial[19];
    inverse_factorial[0] = 1;
    for (int i = 1; i < 19; ++i)
        inverse_factorial[i] = inverse_factorial[i - 1] / i;
    for (int i = 8; i >= 0; --i) {
        const double sign = i % 2 == 0 ? 1.0 : -1.0;
        s = std::fma(s, r2, sign * inverse_factorial[2 * i + 1]);
        c = std::fma(c, r2, sign * inverse_factorial[2 * i]);
    }
    s *= r;
    switch (static_cast<std::int64_t>(k) & 3) {
        case 0:
            return {s, c};
        case 1:
            return {c, -s};
        case 2:
            return {-s, -c};
        default:
            return {-c, s};
    }
}

/// IEEE half to float; exact.
inline float half_to_float(std::uint16_t h) {
    const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000U) << 16;
    const std::uint32_t exponent = (h >> 10) & 0x1FU;
    const std::uint32_t mantissa = h & 0x3FFU;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(mantissa) * 0x1.0p-24F;
        return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
    }
    if (exponent == 31) {
        // A signalling NaN becomes quiet, as the processors' conversions do.
        const std::uint32_t quiet = mantissa != 0 ? 0x400000U : 0U;
        return std::bit_cast<float>(sign | 0x7F800000U | quiet | (mantissa << 13));
    }
    return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

/// Float to IEEE half, ties to even, as the processors' conversions do.
inline std::uint16_t float_to_half(float f) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(f);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) {
        return static_cast<std::uint16_t>(sign | 0x7E00U | ((magnitude >> 13) & 0x3FFU));
    }
    if (magnitude >= 0x477FF000U)
        return static_cast<std::uint16_t>(sign | 0x7C00U);  // rounds to inf
    if (magnitude < 0x38800000U) {                          // subnormal half: let the adder round
        const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
        return static_cast<std::uint16_t>(sign |
                                          (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000U));
    }
    const std::uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
    return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

inline float bfloat16_to_float(std::uint16_t h) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16);
}

}  // namespace potluck
