#pragma once

// Memory of large tables that are read and written all over: on huge pages where the system gives
// them, so that dear translations of addresses are few, and zeroed by the system page by page when
// they are first touched, so that making a table takes no time.

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "base/check.h"

namespace potluck::coordinator {

/// For vectors of a `T` whose new value is all zeros.
template <typename T>
struct HugePages {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
    using value_type = T;
    static constexpr std::size_t kPage = std::size_t{2} << 20;

    HugePages() = default;
    template <typename U>
    HugePages(const HugePages<U>&) {}  // NOLINT: what containers rebind

    T* allocate(std::size_t n) {
        const std::size_t bytes = n * sizeof(T);
        if (!is_mapped(n)) return static_cast<T*>(std::memset(::operator new(bytes), 0, bytes));
        // One page more, so that the border of one lies within; what is around is given back.
        const std::size_t whole = whole_pages(bytes);
        void* const mapped = ::mmap(nullptr, whole + kPage, PROT_READ | PROT_WRITE,
                                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        POTLUCK_CHECK(mapped != MAP_FAILED);
        auto* const begin = static_cast<std::byte*>(mapped);
        const std::size_t past = reinterpret_cast<std::uintptr_t>(begin) % kPage;
        const std::size_t before = (kPage - past) % kPage;
        if (before > 0) ::munmap(begin, before);
        ::munmap(begin + before + whole, kPage - before);
        ::madvise(begin + before, whole, MADV_HUGEPAGE);  // refused: all goes on as before
        return reinterpret_cast<T*>(begin + before);
    }
    void deallocate(T* memory, std::size_t n) noexcept {
        if (is_mapped(n)) {
            ::munmap(memory, whole_pages(n * sizeof(T)));
        } else {
            ::operator delete(memory);
        }
    }
    /// The memory is zero already.
    template <typename U>
    void construct(U*) noexcept {}
    template <typename U, typename... Args>
    void construct(U* at, Args&&... args) {
        ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
    }
    friend bool operator==(const HugePages&, const HugePages&) { return true; }

  private:
    static bool is_mapped(std::size_t n) { return n * sizeof(T) >= kPage / 2; }
    static std::size_t whole_pages(std::size_t bytes) {
        return (bytes + kPage - 1) / kPage * kPage;
    }
};

}  // namespace potluck::coordinator
