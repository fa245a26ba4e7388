#pragma once

// Random weights in the form in which files hold them: whole blocks of a type, made directly, so
// that no quantiser is needed. Deterministic on every machine.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/tensor_type.h"

namespace potluck::bench {

/// Bits by the splitmix64 generator (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014): fast enough that the disk is the limit.
class RandomBits {
  public:
    explicit RandomBits(std::uint64_t key) : state_(key) {}
    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }

  private:
    std::uint64_t state_;
};

/// Standard deviation of the weights that are made; their mean is about 0.
inline constexpr float kWeightDeviation = 0.02F;

/// The values that the f16 fields of a block may take, as bits; a block's random bits choose one.
struct BlockScales {
    std::array<std::uint16_t, 32> scale{};   ///< `d`
    std::array<std::uint16_t, 32> offset{};  ///< `m` or `dmin` that goes with it
};

/// Makes blocks of one type.
class BlockMaker {
  public:
    /// Which types it can make.
    static bool knows(TensorType type);
    explicit BlockMaker(TensorType type);

    /// Fills `out`, whole blocks, with weights.
    void fill(RandomBits& bits, std::span<std::byte> out) const;

  private:
    using Finish = void (*)(std::byte* block, const BlockScales& scales);

    TensorType type_;
    Finish finish_ = nullptr;  ///< null for floats
    BlockScales scales_;
};

/// f32 values near 1, as the weights of norms are.
void fill_norm(RandomBits& bits, std::span<std::byte> out);

}  // namespace potluck::bench
