#pragma once

// What a machine can do at best, measured: how fast its memory is read and how fast its cores
// multiply. Decoding is bound by the first, prompts by the second; a speed means something beside
// the limit that it approaches, and a planner can compare machines by them.
//
// Thread: the caller's, with threads of its own for the time of the call, about three seconds.

#include <cstddef>

#include "base/result.h"
#include "kernels/cpu/cpu_device.h"

namespace potluck::kernels::cpu {

struct LimitsOptions {
    CpuOptions cpu;  ///< threads and instruction set, as for the device that they are compared with
    std::size_t bytes = std::size_t{1} << 30;  ///< read in one pass, over all threads: far more
                                               ///< than any cache; less where less is free
    std::size_t passes = 10;                   ///< the best one counts, here and for products
};

/// All figures are the best of several short windows, because other work only ever makes one
/// slower.
struct Limits {
    std::size_t threads = 0;
    Isa isa = Isa::kScalar;
    /// 10^9 bytes of memory read in a second with the processor's widest loads, on 4 KiB pages.
    double read_small_gbps = 0;
    double read_huge_gbps = 0;  ///< on 2 MiB pages; 0: the system gave none
    /// 10^9 operations in a second on 8-bit integers in registers, a multiplication and an addition
    /// counted as two: vpdpbusd with AVX-512, vpmaddubsw and vpmaddwd with AVX2, else plain code.
    double int8_gops = 0;
};

/// kUnsupported as make_cpu_device, kResourceExhausted without memory to read.
Result<Limits> measure_limits(const LimitsOptions& options);

/// Bytes of this process's own memory that lie on 2 MiB pages now; 0 if the system does not say.
/// Packed weights ask for such pages from 2 MiB on.
std::size_t huge_page_bytes();

}  // namespace potluck::kernels::cpu
