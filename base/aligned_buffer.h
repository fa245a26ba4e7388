#pragma once

// Bytes on the heap at a 64-byte boundary, the alignment of frames' payloads and of vector loads.

#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace potluck {

inline constexpr std::size_t kBufferAlignment = 64;

class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    /// `size` bytes, zeroed.
    explicit AlignedBuffer(std::size_t size)
        : data_(size == 0 ? nullptr
                          : static_cast<std::byte*>(
                                ::operator new(size, std::align_val_t(kBufferAlignment)))),
          size_(size) {
        std::uninitialized_fill_n(data_.get(), size, std::byte{0});
    }

    std::byte* data() { return data_.get(); }
    const std::byte* data() const { return data_.get(); }
    std::size_t size() const { return size_; }
    std::span<std::byte> bytes() { return {data(), size_}; }
    std::span<const std::byte> bytes() const { return {data(), size_}; }

    template <typename T>
    std::span<T> as() {
        return {reinterpret_cast<T*>(data()), size_ / sizeof(T)};
    }
    template <typename T>
    std::span<const T> as() const {
        return {reinterpret_cast<const T*>(data()), size_ / sizeof(T)};
    }

  private:
    struct Free {
        void operator()(std::byte* p) const {
            ::operator delete(p, std::align_val_t(kBufferAlignment));
        }
    };
    std::unique_ptr<std::byte, Free> data_;
    std::size_t size_ = 0;
};

}  // namespace potluck
