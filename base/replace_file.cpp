#include "base/replace_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace potluck {
namespace {

bool write_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const auto n = ::write(fd, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
}

/// Removes what was begun, and keeps the reason.
FileProblem give_up(const char* step, const std::string& path) {
    const int why = errno;
    ::unlink(path.c_str());
    errno = why;
    return {step, path};
}

}  // namespace

std::optional<FileProblem> replace_file(const std::string& path, std::string_view bytes,
                                        bool durable) {
    const std::string next = fmt::format("{}.{}.new", path, ::getpid());
    ::unlink(next.c_str());
    {
        const FileDescriptor file(
            ::open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!file.is_open()) return FileProblem{"create", next};
        if (!write_all(file.get(), bytes)) return give_up("write", next);
        if (durable && ::fsync(file.get()) != 0) return give_up("fsync", next);
    }
    if (::rename(next.c_str(), path.c_str()) != 0) return give_up("rename", next);
    if (!durable) return std::nullopt;
    const auto parent = std::filesystem::path(path).parent_path();
    const FileDescriptor directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.is_open()) ::fsync(directory.get());
    return std::nullopt;
}

bool lock_file(const FileDescriptor& file) {
    while (::flock(file.get(), LOCK_EX) != 0)
        if (errno != EINTR) return false;
    return true;
}

}  // namespace potluck
