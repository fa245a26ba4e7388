#include "weights/records.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"
#include "base/files.h"

namespace potluck::weights {
namespace {

/// Leaves of 4 TiB.
constexpr std::size_t kMaxRecordBytes = 256U << 20;

std::uint64_t nanoseconds(const timespec& t) {
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<std::uint64_t>(t.tv_nsec);
}

}  // namespace

std::optional<FileIdentity> identity_of(int fd) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return std::nullopt;
    return FileIdentity{.inode = status.st_ino,
                        .bytes = static_cast<std::uint64_t>(status.st_size),
                        .modified_ns = nanoseconds(status.st_mtim),
                        .changed_ns = nanoseconds(status.st_ctim)};
}

bool read_at(int fd, std::uint64_t offset, std::span<std::byte> to) {
    while (!to.empty()) {
        const auto n = ::pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        to = to.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return true;
}

bool write_at(int fd, std::uint64_t offset, std::span<const std::byte> from) {
    while (!from.empty()) {
        const auto n = ::pwrite(fd, from.data(), from.size(), static_cast<off_t>(offset));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        from = from.subspan(static_cast<std::size_t>(n));
        offset += static_cast<std::uint64_t>(n);
    }
    return true;
}

RecordWriter& RecordWriter::number(std::uint64_t value) {
    for (int i = 0; i < 8; ++i)
        bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
    return *this;
}

RecordWriter& RecordWriter::digests(std::span<const Digest> values) {
    for (const auto& digest : values)
        bytes_.insert(bytes_.end(), digest.begin(), digest.end());
    return *this;
}

RecordWriter& RecordWriter::identity(const FileIdentity& value) {
    return number(value.inode)
        .number(value.bytes)
        .number(value.modified_ns)
        .number(value.changed_ns);
}

Status RecordWriter::write(const std::filesystem::path& path) const {
    const Digest sum = Sha256().add(bytes_).finish();
    std::string text(reinterpret_cast<const char*>(bytes_.data()), bytes_.size());
    text.append(reinterpret_cast<const char*>(sum.data()), sum.size());
    return replace_file(path, text, false);
}

Result<RecordReader> RecordReader::open(const std::filesystem::path& path, std::uint32_t magic) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.is_open()) return file_problem("open", path);
    const auto identity = identity_of(file.get());
    if (!identity) return file_problem("stat", path);
    RecordReader reader;
    Digest sum;
    const auto corrupt = [&] {
        return error(ErrorCode::kCorrupt, path.string() + ": is not as it was written");
    };
    if (identity->bytes < sum.size() || identity->bytes > kMaxRecordBytes) return corrupt();
    reader.bytes_.resize(identity->bytes - sum.size());
    if (!read_at(file.get(), 0, reader.bytes_) || !read_at(file.get(), reader.bytes_.size(), sum) ||
        Sha256().add(reader.bytes_).finish() != sum || reader.number() != magic) {
        return corrupt();
    }
    return reader;
}

std::uint64_t RecordReader::number() {
    if (bytes_.size() - at_ < 8) {
        ok_ = false;
        return 0;
    }
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i)
        value |= std::to_integer<std::uint64_t>(bytes_[at_++]) << (8 * i);
    return value;
}

bool RecordReader::digests(std::uint64_t count, std::vector<Digest>& to) {
    if (count > (bytes_.size() - at_) / sizeof(Digest)) return ok_ = false;
    to.resize(count);
    if (count > 0) std::memcpy(to.data(), bytes_.data() + at_, count * sizeof(Digest));
    at_ += count * sizeof(Digest);
    return ok_;
}

FileIdentity RecordReader::identity() {
    FileIdentity value;
    value.inode = number();
    value.bytes = number();
    value.modified_ns = number();
    value.changed_ns = number();
    return value;
}

}  // namespace potluck::weights
