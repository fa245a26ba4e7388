#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

#include "base/check.h"

namespace potluck {
namespace {

/// From here on a buffer is a mapping of its own.
constexpr std::size_t kMappedBytes = std::size_t{256} << 10;

}  // namespace

void AlignedBuffer::Free::operator()(std::byte* p) const {
    if (mapped > 0) {
        ::munmap(p, mapped);
    } else {
        ::operator delete(p, std::align_val_t(kBufferAlignment));
    }
}

AlignedBuffer::AlignedBuffer(std::size_t size) : size_(size) {
    if (size == 0) return;
    if (size < kMappedBytes) {
        auto* memory =
            static_cast<std::byte*>(::operator new(size, std::align_val_t(kBufferAlignment)));
        std::uninitialized_fill_n(memory, size, std::byte{0});
        data_ = {memory, Free{}};
        return;
    }
    void* memory =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    POTLUCK_CHECK(memory != MAP_FAILED);
    data_ = {static_cast<std::byte*>(memory), Free{size}};
}

}  // namespace potluck
