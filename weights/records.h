#pragma once

// Small binary files that are believed only if nothing in them is odd: little-endian numbers and
// digests, ended by the SHA-256 of all that is before. Also, which state of a file was looked at.
// Private to weights/.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "weights/tree.h"

namespace potluck::weights {

/// Changes whenever a file's bytes do: whoever writes to it changes its times.
struct FileIdentity {
    std::uint64_t inode = 0;
    std::uint64_t bytes = 0;
    std::uint64_t modified_ns = 0;
    std::uint64_t changed_ns = 0;

    friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};
/// Nothing on an error, with errno set.
std::optional<FileIdentity> identity_of(int fd);

class RecordWriter {
  public:
    explicit RecordWriter(std::uint32_t magic) { number(magic); }
    RecordWriter& number(std::uint64_t value);
    RecordWriter& digests(std::span<const Digest> values);  ///< how many is the reader's to know
    RecordWriter& identity(const FileIdentity& value);
    /// Replaces `path` whole: readers see the old file or the new one.
    Status write(const std::filesystem::path& path) const;

  private:
    std::vector<std::byte> bytes_;
};

/// Reads past the end give zeros and make ok() false.
class RecordReader {
  public:
    /// kNotFound if there is no such file, kCorrupt if it is none of ours.
    static Result<RecordReader> open(const std::filesystem::path& path, std::uint32_t magic);
    std::uint64_t number();
    /// False, and nothing is reserved, if there are not so many.
    bool digests(std::uint64_t count, std::vector<Digest>& to);
    FileIdentity identity();
    bool ok() const { return ok_; }
    bool at_end() const { return ok_ && at_ == bytes_.size(); }

  private:
    std::vector<std::byte> bytes_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

/// All of `to` from `offset`; false on an error or the end of the file.
bool read_at(int fd, std::uint64_t offset, std::span<std::byte> to);
bool write_at(int fd, std::uint64_t offset, std::span<const std::byte> from);

}  // namespace potluck::weights
