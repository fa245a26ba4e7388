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
/// little. Large buffers that are filled side by side, as the caches of all layers are, must not
/// all reach their next huge page at once: the system clears 2 MiB for each, a quarter of a second
/// for 56 of them. So each begins elsewhere in its first huge page, by its `number`: any 32 that
/// follow one another have places of their own.
Result<std::unique_ptr<Buffer>> allocate_memory(std::size_t bytes, std::size_t number);

/// The number after `key` in the text of /proc/meminfo or memory.stat, without its unit; 0 if it
/// is not there.
std::size_t parse_field(std::string_view text, std::string_view key);

}  // namespace potluck::kernels::cpu
