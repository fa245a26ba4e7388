#pragma once

// The CPU as a device: one binary carries a scalar reference and one file per instruction set; the
// best that the processor has is chosen once at start, or the one that is asked for.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "kernels/api/device.h"

namespace potluck::kernels::cpu {

enum class Isa : unsigned char { kScalar, kAvx2, kAvx512 };
std::string_view to_string(Isa isa);
std::optional<Isa> parse_isa(std::string_view name);
/// What this processor has, worst first; kScalar is always there.
std::span<const Isa> available_isas();

struct CpuOptions {
    std::size_t threads = 0;  ///< 0: one per core that this process may use
    /// Empty: the environment variable POTLUCK_CPU_ISA (scalar, avx2, avx512), else the best there
    /// is.
    std::optional<Isa> isa;
    /// Weights are packed for speed. If not, they stay in the bytes given to pack(), which must
    /// then outlive them: nothing is copied, products are several times slower.
    bool repack = true;
    /// Bind thread i to the (first_core + i)th core that this process may use; empty: not bound.
    std::optional<std::size_t> first_core;
};

/// The same options with the threads and the instruction set that a device would take. kUnsupported
/// as make_cpu_device.
Result<CpuOptions> resolve(const CpuOptions& options);
/// kUnsupported if the instruction set asked for is not there, naming those that are.
Result<std::unique_ptr<Device>> make_cpu_device(const CpuOptions& options);

}  // namespace potluck::kernels::cpu
