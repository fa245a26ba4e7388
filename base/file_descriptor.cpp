#include "base/file_descriptor.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

namespace potluck {

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)) {}

FileDescriptor::~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
}

std::optional<std::string> read_up_to(const FileDescriptor& file, std::size_t most) {
    std::string text;
    char bytes[16384];
    while (text.size() <= most) {
        const ssize_t n = ::read(file.get(), bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return std::nullopt;
        if (n == 0) break;
        text.append(bytes, static_cast<std::size_t>(n));
    }
    return text;
}

}  // namespace potluck
