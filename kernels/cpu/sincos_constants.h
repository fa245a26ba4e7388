#pragma once

// The constants of portable_sincos (base/portable_math.h) for the vector files.

namespace potluck::kernels::cpu {

inline constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;
/// -π/2 in three parts; an integer below 2^26 times the first one is exact in an fma.
inline constexpr double kMinusHalfPi[3] = {-0x1.921fb54400000p+0, -0x1.0b4611a600000p-34,
                                           -0x1.3198a2e037073p-69};

/// ±1/(2i+1)! and ±1/(2i)!, each factorial's inverse from the one before, as portable_sincos does.
struct SinCosSeries {
    double sin[9] = {};
    double cos[9] = {};
};
consteval SinCosSeries make_sincos_series() {
    double inverse_factorial[19] = {1};
    for (int i = 1; i < 19; ++i)
        inverse_factorial[i] = inverse_factorial[i - 1] / i;
    SinCosSeries series;
    for (int i = 0; i < 9; ++i) {
        const double sign = i % 2 == 0 ? 1.0 : -1.0;
        series.sin[i] = sign * inverse_factorial[2 * i + 1];
        series.cos[i] = sign * inverse_factorial[2 * i];
    }
    return series;
}
inline constexpr SinCosSeries kSinCosSeries = make_sincos_series();

}  // namespace potluck::kernels::cpu
