#pragma once

// A keys file on disk. Blocks for as long as the disk does: for the start, and for the service
// pool.

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "coordinator/api/keys.h"

namespace potluck::coordinator::api {

/// Tells one state of a file from another.
struct FileStamp {
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;  ///< also when only the permissions change
    std::uint64_t inode = 0;
    std::uint64_t bytes = 0;

    bool operator==(const FileStamp&) const = default;
};

/// kNotFound: there is none.
Result<FileStamp> stamp_of(const std::string& path);

struct KeyFile {
    std::vector<ApiKey> keys;
    FileStamp stamp;  ///< of what was read
};

/// kNotFound: cannot be opened. kInvalidArgument: not a regular file, writable by everybody (who
/// could then let themselves in), too large, or what parse_keys() refuses.
Result<KeyFile> read_key_file(const std::string& path);

}  // namespace potluck::coordinator::api
