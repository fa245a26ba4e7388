#pragma once

// Unsigned 64-bit arithmetic on numbers that a file declares: nothing wraps silently.

#include <cstdint>
#include <optional>

namespace potluck::model::gguf {

inline std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
    std::uint64_t sum = 0;
    if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
    return sum;
}

inline std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) {
    std::uint64_t product = 0;
    if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
    return product;
}

/// The next multiple of `alignment`, a power of two; nothing if it does not fit in 64 bits.
inline std::optional<std::uint64_t> checked_round_up(std::uint64_t x, std::uint64_t alignment) {
    const auto padded = checked_add(x, alignment - 1);
    if (!padded) return std::nullopt;
    return *padded & ~(alignment - 1);
}

}  // namespace potluck::model::gguf
