#pragma once

// Numbers of the KV types (docs/arithmetic.md, "Keys and values in the cache"). Constants only: the
// instruction-set files include this.

#include <cstddef>
#include <cstdint>

#include "base/kv_type.h"

namespace potluck::kernels::cpu {

/// Bytes of one block: an f16 scale, then for each 32 values 1, 5/8 or 1/2 byte a value; turbo3: an
/// f16 scale, then for each 32 values three planes of 32 bits.
inline constexpr std::size_t kScaleBytes = 2;
inline constexpr std::size_t kQ8Bytes = kScaleBytes + 32;
inline constexpr std::size_t kQ5Bytes = kScaleBytes + 4 + 16;
inline constexpr std::size_t kQ4Bytes = kScaleBytes + 16;
inline constexpr std::size_t kTurboPlanesBytes = 12;

/// Scales that are tried for a block of q4_0 and q5_0: candidate c divides the value furthest from
/// 0 by -(half + 1 - c / 4), half = 8 or 16.
inline constexpr int kKvCandidates = 8;

/// The eight points of the best 3-bit quantiser of a normal distribution (Lloyd and Max; Zandieh et
/// al., TurboQuant, arXiv 2504.19874), and the borders between them.
inline constexpr float kTurboPoints[8] = {-2.1519457F, -1.3439093F, -0.7560053F, -0.2450942F,
                                          0.2450942F,  0.7560053F,  1.3439093F,  2.1519457F};
inline constexpr float kTurboBorders[7] = {-1.7479275F, -1.0499573F, -0.5005497F, 0.0F,
                                           0.5005497F,  1.0499573F,  1.7479275F};

/// The fixed signs of the rotation, bit i of word i / 32 for value i: the first 128 bits of the
/// fraction of pi.
inline constexpr std::uint32_t kKvSignBits[kKvGroup / 32] = {0x243F6A88U, 0x85A308D3U, 0x13198A2EU,
                                                             0x03707344U};
struct KvSigns {
    float sign[kKvGroup] = {};
};
inline constexpr KvSigns kKvSigns = [] {
    KvSigns s;
    for (std::size_t i = 0; i < kKvGroup; ++i)
        s.sign[i] = ((kKvSignBits[i / 32] >> (i % 32)) & 1U) != 0 ? -1.0F : 1.0F;
    return s;
}();

}  // namespace potluck::kernels::cpu
