#pragma once

// An open file that closes itself, and the reading of a small one whole. errno says what went
// wrong; what that means for whom is the caller's to say.

#include <cstddef>
#include <optional>
#include <string>

namespace potluck {

/// Owns a descriptor; below zero: none. Not thread-safe.
class FileDescriptor {
  public:
    explicit FileDescriptor(int fd) : fd_(fd) {}
    ~FileDescriptor();
    FileDescriptor(FileDescriptor&& other) noexcept;
    FileDescriptor& operator=(FileDescriptor&&) = delete;

    int get() const { return fd_; }
    bool is_open() const { return fd_ >= 0; }

  private:
    int fd_;
};

/// What is left of a file or pipe, but hardly more than `most` bytes: a longer text means that
/// there is more than that. Nothing on an error, with errno set.
std::optional<std::string> read_up_to(const FileDescriptor& file, std::size_t most);

}  // namespace potluck
