#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/file_descriptor.h"

namespace potluck {

/// What could not be done; errno says why.
struct FileProblem {
    const char* step = "";  ///< "create", "write", …
    std::string path;
};

/// Puts a file, readable by its owner alone, in the place of what was at `path`: whoever reads sees
/// the old one or the new one, whole. `durable`: so does who reads after a power failure.
std::optional<FileProblem> replace_file(const std::string& path, std::string_view bytes,
                                        bool durable);

/// Waits until no other process has the file locked, and locks it until it is closed. False on an
/// error, with errno set.
bool lock_file(const FileDescriptor& file);

}  // namespace potluck
