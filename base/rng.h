#pragma once

// A counter-based generator: the n-th number of a key is a pure function of (key, n), so that a
// draw can be repeated on another machine without having made the ones before it. Philox 4x32-10:
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

#include <array>
#include <cstdint>

namespace potluck {

inline std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                               std::array<std::uint32_t, 2> key) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
        const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
        counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(b),
                   static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(a)};
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    return counter;
}

/// A number in [0, 1) with 53 random bits: draw `index` of stream `position` under `seed`.
inline double uniform(std::uint64_t seed, std::uint64_t position, std::uint32_t index = 0) {
    const auto r =
        philox4x32({static_cast<std::uint32_t>(position),
                    static_cast<std::uint32_t>(position >> 32), index, 0},
                   {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    const std::uint64_t bits = (std::uint64_t{r[0]} << 32 | r[1]) >> 11;
    return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace potluck
