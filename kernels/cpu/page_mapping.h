#pragma once

// Anonymous memory of its own mapping, which begins at the border of a huge page or a wished-for
// way behind one. Its pages come, as zeros, when they are first written.

#include <cstddef>
#include <optional>

namespace potluck::kernels::cpu {

inline constexpr std::size_t kHugePage = std::size_t{2} << 20;

class PageMapping {
  public:
    /// Nothing if the system has no such piece of address space. Whether the pages are huge, or
    /// surely are not, is a wish.
    static std::optional<PageMapping> map(std::size_t bytes, bool huge,
                                          std::size_t behind_border = 0);

    PageMapping(PageMapping&& other) noexcept;
    PageMapping& operator=(PageMapping&&) = delete;
    ~PageMapping();

    std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }

  private:
    PageMapping(std::byte* base, std::size_t mapped, std::size_t size, std::size_t behind_border);

    std::byte* base_;
    std::size_t mapped_;
    std::byte* data_;
    std::size_t size_;
};

}  // namespace potluck::kernels::cpu
