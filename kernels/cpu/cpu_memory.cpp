#include "kernels/cpu/cpu_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "base/aligned_buffer.h"
#include "kernels/cpu/page_mapping.h"

namespace potluck::kernels::cpu {
namespace {

/// From here on a buffer is a mapping of its own, on huge pages if the system gives them.
constexpr std::size_t kMapFrom = std::size_t{1} << 20;
/// How many cgroups above this process's own are looked at.
constexpr int kMaxCgroupDepth = 32;

/// A small file's text, up to the buffer's size; empty if it cannot be read.
std::string_view read_text(const std::string& path, std::span<char> buffer) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return {};
    std::size_t size = 0;
    while (size < buffer.size()) {
        const ssize_t n = ::read(file, buffer.data() + size, buffer.size() - size);
        if (n <= 0) break;
        size += static_cast<std::size_t>(n);
    }
    ::close(file);
    return {buffer.data(), size};
}

std::optional<std::size_t> parse_number(std::string_view text) {
    std::size_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc{}) return std::nullopt;
    return value;
}

/// What one cgroup still allows; the page cache that counts against it can be given up.
std::size_t cgroup_room(const std::string& folder, std::span<char> buffer) {
    const auto limit = parse_number(read_text(folder + "/memory.max", buffer));
    const auto used = parse_number(read_text(folder + "/memory.current", buffer));
    if (!limit || !used) return std::numeric_limits<std::size_t>::max();
    const std::string_view stat = read_text(folder + "/memory.stat", buffer);
    const std::size_t cache = parse_field(stat, "inactive_file") + parse_field(stat, "active_file");
    const std::size_t held = *used - std::min(*used, cache);
    return *limit - std::min(*limit, held);
}

/// The least room along the path from this process's cgroup to the root.
std::size_t cgroups_room() {
    std::array<char, 16384> buffer;
    const std::string_view text = read_text("/proc/self/cgroup", buffer);
    const std::size_t begin = text.find("0::/");
    std::size_t room = std::numeric_limits<std::size_t>::max();
    if (begin == std::string_view::npos) return room;
    std::string path(text.substr(begin + 3, text.find('\n', begin) - begin - 3));
    for (int depth = 0; depth < kMaxCgroupDepth; ++depth) {
        room = std::min(room, cgroup_room("/sys/fs/cgroup" + path, buffer));
        if (path.empty() || path == "/") break;
        path.erase(path.rfind('/'));
    }
    return room;
}

class HeapBuffer final : public Buffer {
  public:
    explicit HeapBuffer(std::size_t bytes)
        : memory_(std::max(bytes, kBufferAlignment)), size_(bytes) {}
    std::byte* data() const override { return const_cast<AlignedBuffer&>(memory_).data(); }
    std::size_t size() const override { return size_; }

  private:
    AlignedBuffer memory_;
    std::size_t size_;
};

class MappedBuffer final : public Buffer {
  public:
    explicit MappedBuffer(PageMapping pages) : pages_(std::move(pages)) {}
    std::byte* data() const override { return pages_.data(); }
    std::size_t size() const override { return pages_.size(); }

  private:
    PageMapping pages_;
};

tl::unexpected<Error> too_little(std::size_t bytes) {
    return error(
        ErrorCode::kResourceExhausted,
        fmt::format("{} bytes of memory asked for, {} are free", bytes, available_memory()));
}

/// Behind the border of a huge page; 13 steps of 32 visit every place in turn.
std::size_t place_of(std::size_t number) {
    constexpr std::size_t kPlaces = 32;
    return number * 13 % kPlaces * (kHugePage / kPlaces);
}

/// A mapping of its own: a KV pool takes what is used of it, not what it may come to, and a start
/// does not wait for gigabytes of zeros.
Result<std::unique_ptr<Buffer>> map(std::size_t bytes, std::size_t place) {
    const std::size_t taken = (place + bytes + kHugePage - 1) / kHugePage * kHugePage;
    if (taken < bytes || taken > available_memory()) return too_little(bytes);
    auto pages = PageMapping::map(bytes, true, place);
    if (!pages) return too_little(bytes);
    return std::make_unique<MappedBuffer>(std::move(*pages));
}

}  // namespace

std::size_t parse_field(std::string_view text, std::string_view key) {
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        if (!line.starts_with(key)) continue;
        line.remove_prefix(key.size());
        const std::size_t digits = line.find_first_not_of(": \t");
        if (digits == 0 || digits == std::string_view::npos) continue;
        return parse_number(line.substr(digits)).value_or(0);
    }
    return 0;
}

std::size_t available_memory() {
    std::array<char, 8192> buffer;
    const std::string_view text = read_text("/proc/meminfo", buffer);
    const std::size_t system = parse_field(text, "MemAvailable") * 1024;
    return std::min(text.empty() ? std::numeric_limits<std::size_t>::max() : system,
                    cgroups_room());
}

Result<std::unique_ptr<Buffer>> allocate_memory(std::size_t bytes, std::size_t number) {
    if (bytes >= kMapFrom) return map(bytes, place_of(number));
    try {
        return std::make_unique<HeapBuffer>(bytes);
    } catch (const std::bad_alloc&) {
        return too_little(bytes);
    }
}

}  // namespace potluck::kernels::cpu
