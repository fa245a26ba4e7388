#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

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
tl::unexpected<Error> give_up(const char* step, const std::string& path) {
    auto problem = file_problem(step, path);
    ::unlink(path.c_str());
    return problem;
}

}  // namespace

tl::unexpected<Error> file_problem(std::string_view doing, const std::filesystem::path& path) {
    const int why = errno;
    const auto code = why == ENOENT                    ? ErrorCode::kNotFound
                      : why == ENOSPC || why == EDQUOT ? ErrorCode::kResourceExhausted
                                                       : ErrorCode::kInvalidArgument;
    return error(code, fmt::format("{} {}: {}", doing, path.string(), std::strerror(why)));
}

Status replace_file(const std::filesystem::path& path, std::string_view bytes, bool durable) {
    const std::string next = fmt::format("{}.{}.new", path.string(), ::getpid());
    ::unlink(next.c_str());
    {
        const FileDescriptor file(
            ::open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!file.is_open()) return file_problem("create", next);
        if (!write_all(file.get(), bytes)) return give_up("write", next);
        if (durable && ::fsync(file.get()) != 0) return give_up("fsync", next);
    }
    if (::rename(next.c_str(), path.c_str()) != 0) return give_up("rename", next);
    if (!durable) return {};
    const FileDescriptor directory(
        ::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.is_open()) ::fsync(directory.get());
    return {};
}

Result<FileDescriptor> lock_file(const std::filesystem::path& path) {
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!file.is_open()) return file_problem("open", path);
    while (::flock(file.get(), LOCK_EX) != 0)
        if (errno != EINTR) return file_problem("lock", path);
    return file;
}

}  // namespace potluck
