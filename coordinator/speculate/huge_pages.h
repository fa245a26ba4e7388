#pragma once

// Memory of large tables that are read and written all over: on huge pages where the system gives
// them, so that a first touch is rare and dear translations of addresses are few.

#include <sys/mman.h>

#include <cstdlib>
#include <new>

#include "base/check.h"

namespace potluck::coordinator {

template <typename T>
struct HugePages {
    using value_type = T;
    static constexpr std::size_t kPage = std::size_t{2} << 20;

    HugePages() = default;
    template <typename U>
    HugePages(const HugePages<U>&) {}  // NOLINT: what containers rebind

    T* allocate(std::size_t n) {
        const std::size_t bytes = n * sizeof(T);
        if (bytes < kPage / 2) return static_cast<T*>(::operator new(bytes));
        const std::size_t whole = (bytes + kPage - 1) / kPage * kPage;
        void* const memory = std::aligned_alloc(kPage, whole);
        POTLUCK_CHECK(memory != nullptr);
        ::madvise(memory, whole, MADV_HUGEPAGE);  // where it is refused all goes on as before
        return static_cast<T*>(memory);
    }
    void deallocate(T* memory, std::size_t n) noexcept {
        if (n * sizeof(T) < kPage / 2) {
            ::operator delete(memory);
        } else {
            std::free(memory);
        }
    }
    friend bool operator==(const HugePages&, const HugePages&) { return true; }
};

}  // namespace potluck::coordinator
