#pragma once

#include <filesystem>
#include <string_view>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace potluck {

/// "open FILE: why", with errno's text; kNotFound, kResourceExhausted (disk full) or
/// kInvalidArgument.
tl::unexpected<Error> file_problem(std::string_view doing, const std::filesystem::path& path);

/// Puts a file, readable by its owner alone, in the place of what was at `path`: whoever reads sees
/// the old one or the new one, whole. `durable`: so does who reads after a power failure.
Status replace_file(const std::filesystem::path& path, std::string_view bytes, bool durable);

/// Opens or makes the file, waits until no other process has it locked, and locks it until it is
/// closed.
Result<FileDescriptor> lock_file(const std::filesystem::path& path);

}  // namespace potluck
