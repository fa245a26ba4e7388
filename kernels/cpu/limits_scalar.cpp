// The loops of limits_kernels.h as plain code, and the choice among them.

#include <cstring>

#include "kernels/cpu/limits_kernels.h"

namespace potluck::kernels::cpu {
namespace {

/// Streams that are read side by side: each has the hardware fetch ahead for it.
constexpr std::size_t kStreams = 4;
/// Values of one round: as many as an activation block has.
constexpr std::size_t kValues = 32;

std::uint64_t load(const std::byte* p) {
    std::uint64_t word = 0;
    std::memcpy(&word, p, sizeof(word));
    return word;
}

std::uint64_t read(const std::byte* data, std::size_t bytes) {
    const std::size_t stream = bytes / kStreams;
    std::uint64_t sums[2 * kStreams] = {};
    for (std::size_t at = 0; at < stream; at += 16) {
        for (std::size_t s = 0; s < kStreams; ++s) {
            const std::byte* const p = data + s * stream + at;
            sums[2 * s] ^= load(p);
            sums[2 * s + 1] ^= load(p + 8);
        }
    }
    for (const std::uint64_t sum : sums)
        sums[0] += sum;
    return sums[0];
}

std::uint64_t multiply(std::size_t rounds) {
    std::int8_t a[kValues];
    std::int8_t b[kValues];
    for (std::size_t i = 0; i < kValues; ++i) {
        a[i] = static_cast<std::int8_t>(i);
        b[i] = static_cast<std::int8_t>(3 - static_cast<int>(i));
    }
    std::uint64_t total = 0;
    for (std::size_t round = 0; round < rounds; ++round) {
        // For all the compiler knows, the values are others each time.
        asm volatile("" : : "r"(a), "r"(b) : "memory");
        int sum = 0;
        for (std::size_t i = 0; i < kValues; ++i)
            sum += int{a[i]} * int{b[i]};
        total += static_cast<std::uint64_t>(sum);
    }
    return total;
}

}  // namespace

const LimitKernels kLimitKernelsScalar = {
    .read = read, .multiply = multiply, .operations_per_round = kValues * 2};

const LimitKernels& limit_kernels(Isa isa) {
    switch (isa) {
        case Isa::kAvx512:
            return kLimitKernelsAvx512;
        case Isa::kAvx2:
            return kLimitKernelsAvx2;
        case Isa::kScalar:
            break;
    }
    return kLimitKernelsScalar;
}

}  // namespace potluck::kernels::cpu
