#include "model/gguf/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "base/file_descriptor.h"

namespace potluck::model::gguf {
namespace {

tl::unexpected<Error> system_error(const std::filesystem::path& path, const char* doing, int code) {
    const bool absent = code == ENOENT || code == ENOTDIR;
    return error(absent ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
                 fmt::format("{}: cannot {}: {}", path.string(), doing,
                             std::generic_category().message(code)));
}

constexpr std::uintptr_t kPage = 4096;

/// The pages that hold `part`, or those that hold nothing else.
void advise(std::span<const std::byte> part, bool whole_pages, int advice) {
    const auto address = reinterpret_cast<std::uintptr_t>(part.data());
    const std::uintptr_t inner = whole_pages ? kPage - 1 : 0;
    const std::uintptr_t begin = (address + inner) / kPage * kPage;
    const std::uintptr_t end = (address + part.size() + kPage - 1 - inner) / kPage * kPage;
    // Only advice: what the system does not know changes nothing.
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
    // O_NONBLOCK: opening a pipe must not wait for its writer; for regular files it means nothing.
    // The descriptor is needed only until the file is mapped.
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file.is_open()) return system_error(path, "open", errno);
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return system_error(path, "stat", errno);
    if (!S_ISREG(status.st_mode))
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: not a regular file", path.string()));
    if (status.st_size == 0) return MappedFile();
    const auto size = static_cast<std::size_t>(status.st_size);
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
    if (address == MAP_FAILED) return system_error(path, "map", errno);
    return MappedFile(std::span(static_cast<const std::byte*>(address), size));
}

void MappedFile::will_read(std::span<const std::byte> part) {
    advise(part, false, MADV_POPULATE_READ);
}

void MappedFile::forget(std::span<const std::byte> part) {
    advise(part, true, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
    if (bytes_.empty()) return;
    // munmap takes a mutable pointer though it only forgets the range.
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace potluck::model::gguf
