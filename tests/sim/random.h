#pragma once

// What a seed means in this folder: SplitMix64, small enough to be the same everywhere.

#include <cstdint>

namespace potluck::sim {

/// A well-mixed function of a number.
inline std::uint64_t scramble(std::uint64_t x) {
    x += 0x9E3779B97F4A7C15;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
}
inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    return scramble(a ^ scramble(b));
}

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(scramble(seed)) {}
    std::uint64_t next() { return scramble(state_++); }
    /// In [0, n); n > 0.
    std::uint64_t below(std::uint64_t n) { return next() % n; }
    /// In [low, high].
    std::uint64_t between(std::uint64_t low, std::uint64_t high) {
        return low + below(high - low + 1);
    }
    bool one_in(std::uint64_t n) { return below(n) == 0; }

  private:
    std::uint64_t state_;
};

}  // namespace potluck::sim
