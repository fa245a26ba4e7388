#include "kernels/cpu/weight_arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "kernels/cpu/cpu_memory.h"
#include "kernels/cpu/page_mapping.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

namespace potluck::kernels::cpu {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kSmallPage = 4096;
/// Address space of a region; memory is taken only where weights are written.
constexpr std::size_t kRegionBytes = std::size_t{256} << 20;

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

tl::unexpected<Error> too_little(std::size_t bytes) {
    return error(ErrorCode::kResourceExhausted,
                 fmt::format("not enough memory for {} bytes of packed weights", bytes));
}

}  // namespace

class PackedMemory::Region {
  public:
    explicit Region(PageMapping pages) : pages_(std::move(pages)) {
        ASAN_POISON_MEMORY_REGION(begin(), bytes());
    }
    ~Region() { ASAN_UNPOISON_MEMORY_REGION(begin(), bytes()); }
    Region(const Region&) = delete;
    Region& operator=(const Region&) = delete;

    std::byte* begin() const { return pages_.data(); }
    std::size_t bytes() const { return pages_.size(); }

  private:
    PageMapping pages_;
};

PackedMemory::PackedMemory(std::shared_ptr<Region> region, std::byte* data, std::size_t size)
    : region_(std::move(region)), data_(data), size_(size) {}

PackedMemory::PackedMemory(PackedMemory&& other) noexcept
    : region_(std::move(other.region_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

PackedMemory& PackedMemory::operator=(PackedMemory&& other) noexcept {
    std::swap(region_, other.region_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

PackedMemory::~PackedMemory() {
    if (region_ == nullptr) return;
    ASAN_POISON_MEMORY_REGION(data_, size_);
    // Whole pages go back at once; neighbours may still use the rest of the first and the last.
    const auto address = reinterpret_cast<std::uintptr_t>(data_);
    const std::uintptr_t begin = round_up(address, kSmallPage);
    const std::uintptr_t end = (address + size_) / kSmallPage * kSmallPage;
    if (begin < end) ::madvise(data_ + (begin - address), end - begin, MADV_DONTNEED);
}

WeightArena::WeightArena() = default;
WeightArena::~WeightArena() = default;

Result<PackedMemory> WeightArena::allocate(std::size_t bytes) {
    if (bytes > SIZE_MAX - 2 * kHugePage) return too_little(bytes);
    // The gap keeps a read beyond a matrix from finding the next one.
    const std::size_t taken = round_up(bytes, kAlignment) + kAlignment;
    if (region_ == nullptr || region_->bytes() - used_ < taken) {
        if (bytes > available_memory()) return too_little(bytes);
        auto pages = PageMapping::map(std::max(kRegionBytes, round_up(taken, kHugePage)), true);
        if (!pages) return too_little(bytes);
        region_ = std::make_shared<PackedMemory::Region>(std::move(*pages));
        used_ = 0;
    }
    std::byte* const data = region_->begin() + used_;
    used_ += taken;
    ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    return PackedMemory(region_, data, bytes);
}

}  // namespace potluck::kernels::cpu
