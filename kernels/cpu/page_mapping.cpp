#include "kernels/cpu/page_mapping.h"

#include <sys/mman.h>

#include <cstdint>
#include <limits>
#include <utility>

namespace potluck::kernels::cpu {

std::optional<PageMapping> PageMapping::map(std::size_t bytes, bool huge,
                                            std::size_t behind_border) {
    if (bytes > std::numeric_limits<std::size_t>::max() - 2 * kHugePage - behind_border)
        return std::nullopt;
    // Whole huge pages, and one more so that the border of one lies at the beginning.
    const std::size_t used = behind_border + bytes;
    const std::size_t mapped = (used + kHugePage - 1) / kHugePage * kHugePage + kHugePage;
    void* const base =
        ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) return std::nullopt;
    ::madvise(base, mapped, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return PageMapping(static_cast<std::byte*>(base), mapped, bytes, behind_border);
}

PageMapping::PageMapping(std::byte* base, std::size_t mapped, std::size_t size,
                         std::size_t behind_border)
    : base_(base), mapped_(mapped), size_(size) {
    const std::size_t past = reinterpret_cast<std::uintptr_t>(base) % kHugePage;
    data_ = base + (kHugePage - past) % kHugePage + behind_border;
}

PageMapping::PageMapping(PageMapping&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      mapped_(other.mapped_),
      data_(other.data_),
      size_(other.size_) {}

PageMapping::~PageMapping() {
    if (base_ != nullptr) ::munmap(base_, mapped_);
}

}  // namespace potluck::kernels::cpu
