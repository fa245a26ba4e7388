#pragma once

// The loops that limits.h times, one table per instruction set. Nothing here is part of the
// arithmetic: results exist only so that no loop can be left out.

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/cpu_device.h"

namespace potluck::kernels::cpu {

struct LimitKernels {
    /// Reads every byte of [data, data + bytes) once; both are multiples of 4096.
    std::uint64_t (*read)(const std::byte* data, std::size_t bytes) = nullptr;
    /// Multiplies 8-bit integers in registers and adds the products up, `rounds` times.
    std::uint64_t (*multiply)(std::size_t rounds) = nullptr;
    std::size_t operations_per_round = 0;  ///< multiplications and additions
};

const LimitKernels& limit_kernels(Isa isa);

/// One per file; use limit_kernels().
extern const LimitKernels kLimitKernelsScalar;
extern const LimitKernels kLimitKernelsAvx2;
extern const LimitKernels kLimitKernelsAvx512;

}  // namespace potluck::kernels::cpu
