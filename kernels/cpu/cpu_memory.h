#pragma once

// Memory of the CPU device: what there is, and buffers of it.

#include <cstddef>
#include <memory>
#include <string_view>

#include "base/result.h"
#include "kernels/api/device.h"

namespace potluck::kernels::cpu {

/// Bytes that this process may still take: what the system calls available, less what the cgroups
/// (v2) of this process forbid. The largest number if nothing can be read.
std::size_t available_memory();

/// Zeroed, 64-byte aligned, with memory behind every page. kResourceExhausted if there is too
/// little.
Result<std::unique_ptr<Buffer>> allocate_memory(std::size_t bytes);

/// The number after `key` in the text of /proc/meminfo or memory.stat, without its unit; 0 if it
/// is not there.
std::size_t parse_field(std::string_view text, std::string_view key);

}  // namespace potluck::kernels::cpu
