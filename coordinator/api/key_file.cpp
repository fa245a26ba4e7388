#include "coordinator/api/key_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"

namespace potluck::coordinator::api {

namespace {

constexpr std::size_t kMaxFileBytes = kMaxKeys * (kMaxKeyLineBytes + 1);

std::int64_t nanoseconds(const timespec& t) {
    return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

FileStamp stamp_from(const struct stat& s) {
    return {nanoseconds(s.st_mtim), nanoseconds(s.st_ctim), s.st_ino,
            static_cast<std::uint64_t>(s.st_size)};
}

tl::unexpected<Error> cannot_read(const std::string& path) {
    return error(ErrorCode::kNotFound,
                 fmt::format("the keys file {} cannot be read: {}", path, std::strerror(errno)));
}

}  // namespace

Result<FileStamp> stamp_of(const std::string& path) {
    struct stat s {};
    if (::stat(path.c_str(), &s) != 0) return cannot_read(path);
    return stamp_from(s);
}

Result<KeyFile> read_key_file(const std::string& path) {
    // O_NONBLOCK: a pipe of that name must not hold us up before we see that it is one.
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat s {};
    if (!file.is_open() || ::fstat(file.get(), &s) != 0) return cannot_read(path);
    if (!S_ISREG(s.st_mode))
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("the keys file {} is not a regular file", path));
    if ((s.st_mode & S_IWOTH) != 0)
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("the keys file {} can be written by everybody on this machine, who "
                        "could let themselves in: chmod o-w {}",
                        path, path));
    const auto text = read_up_to(file, kMaxFileBytes);
    if (!text) return cannot_read(path);
    if (text->size() > kMaxFileBytes)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("the keys file {} is larger than {} bytes", path, kMaxFileBytes));
    POTLUCK_ASSIGN(std::vector<ApiKey> keys, parse_keys(*text, path));
    return KeyFile{std::move(keys), stamp_from(s)};
}

}  // namespace potluck::coordinator::api
