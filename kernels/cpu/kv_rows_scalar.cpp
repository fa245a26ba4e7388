// The definition of what is stored for a key or value (docs/arithmetic.md), written to be read.

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/portable_math.h"
#include "kernels/cpu/kv_codec.h"
#include "kernels/cpu/kv_rows.h"

namespace potluck::kernels::cpu {
namespace {

/// The fold of 16 lanes.
float fold(float (&lane)[16]) {
    for (std::size_t h = 8; h > 0; h /= 2)
        for (std::size_t j = 0; j < h; ++j)
            lane[j] += lane[j + h];
    return lane[0];
}

void rotate(const float* x, std::size_t n, bool back, float* out) {
    for (std::size_t i = 0; i < n; ++i)
        out[i] = back ? x[i] : x[i] * kKvSigns.sign[i];
    for (std::size_t h = 1; h < n; h *= 2)
        for (std::size_t i = 0; i < n; ++i) {
            if ((i & h) != 0) continue;
            const float a = out[i];
            const float b = out[i + h];
            out[i] = a + b;
            out[i + h] = a - b;
        }
    const float scale = 1.0F / std::sqrt(static_cast<float>(n));
    for (std::size_t i = 0; i < n; ++i)
        out[i] = back ? out[i] * (scale * kKvSigns.sign[i]) : out[i] * scale;
}

/// The value furthest from 0; the positive one of two.
float furthest(const float* x) {
    float most = 0;
    float least = 0;
    for (std::size_t i = 0; i < kKvBlock; ++i) {
        most = x[i] > most ? x[i] : most;
        least = x[i] < least ? x[i] : least;
    }
    return most >= -least ? most : least;
}

/// x / d as an integer within [low, high], given 1 / d; NaN becomes low.
float to_level(float x, float inverse, float low, float high) {
    float t = x * inverse;
    t = t > low ? t : low;
    t = t < high ? t : high;
    return std::nearbyint(t);
}

/// The sum of squares of what x loses with scale d.
float block_error(const float* x, float d, float inverse, float low, float high) {
    float lane[16] = {};
    for (std::size_t i = 0; i < kKvBlock; ++i) {
        const float r = std::fma(-to_level(x[i], inverse, low, high), d, x[i]);
        lane[i % 16] = std::fma(r, r, lane[i % 16]);
    }
    return fold(lane);
}

float invert(float d) {
    return d != 0.0F ? 1.0F / d : 0.0F;
}

std::uint16_t quantize_block(KvType type, const float* x, std::int8_t* q) {
    const float peak = furthest(x);
    float low = -127;
    float high = 127;
    std::uint16_t best = 0;
    if (type == KvType::kQ8_0) {
        best = float_to_half(std::fabs(peak) / 127.0F);
    } else {
        const float half = type == KvType::kQ4_0 ? 8 : 16;
        low = -half;
        high = half - 1;
        float least_error = 0;
        for (int c = 0; c < kKvCandidates; ++c) {
            const std::uint16_t scale =
                float_to_half(peak / (0.25F * static_cast<float>(c) - (half + 1)));
            const float d = half_to_float(scale);
            const float e = block_error(x, d, invert(d), low, high);
            if (c != 0 && !(e < least_error)) continue;
            least_error = e;
            best = scale;
        }
    }
    const float inverse = invert(half_to_float(best));
    for (std::size_t i = 0; i < kKvBlock; ++i)
        q[i] = static_cast<std::int8_t>(to_level(x[i], inverse, low, high));
    return best;
}

std::uint16_t quantize_turbo(const float* x, std::size_t n, std::int8_t* index) {
    float lane[16] = {};
    for (std::size_t i = 0; i < n; ++i)
        lane[i % 16] = std::fma(x[i], x[i], lane[i % 16]);
    const float norm = std::sqrt(fold(lane));
    const float to_unit = norm > 0 ? std::sqrt(static_cast<float>(n)) / norm : 0.0F;
    float points[16] = {};
    for (std::size_t i = 0; i < n; ++i) {
        const float u = x[i] * to_unit;
        int at = 0;
        for (const float border : kTurboBorders)
            at += u > border ? 1 : 0;
        index[i] = static_cast<std::int8_t>(at);
        points[i % 16] = std::fma(kTurboPoints[at], kTurboPoints[at], points[i % 16]);
    }
    return float_to_half(norm / std::sqrt(fold(points)));
}

}  // namespace

const KvRowKernels kKvRowKernelsScalar = {
    .rotate = rotate,
    .quantize_block = quantize_block,
    .quantize_turbo = quantize_turbo,
};

}  // namespace potluck::kernels::cpu
