#pragma once

// The fixed value tables of the two types whose nibbles are indices. Source: the GGUF format's
// definitions of IQ4_NL (also used by IQ4_XS) and of MXFP4 (the OCP microscaling format's E2M1
// numbers, doubled to be integers; the block's scale is halved to match).

#include <cstdint>

namespace potluck::kernels::cpu {

inline constexpr std::int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::int8_t kMxfp4Values[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                                 0, -1, -2, -3, -4, -6, -8, -12};

/// Which table a type's nibbles index.
enum class Codebook : std::uint8_t { kNone, kIq4, kMxfp4 };

constexpr std::int8_t codebook_value(Codebook codebook, int n) {
    return codebook == Codebook::kIq4 ? kIq4Values[n] : kMxfp4Values[n];
}

}  // namespace potluck::kernels::cpu
