#pragma once

// Bytes at a 64-byte boundary, the alignment of frames' payloads and of vector loads.

#include <cstddef>
#include <memory>
#include <span>

namespace potluck {

inline constexpr std::size_t kBufferAlignment = 64;

class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    /// `size` bytes, zeroed. Large ones take memory only where they are touched, and no time to
    /// make: loops own buffers for the largest frame that may come.
    explicit AlignedBuffer(std::size_t size);

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
        Free() noexcept : mapped(0) {}
        explicit Free(std::size_t bytes) noexcept : mapped(bytes) {}
        void operator()(std::byte* p) const;
        std::size_t mapped;  ///< bytes; 0: it is from the heap
    };
    std::unique_ptr<std::byte, Free> data_;
    std::size_t size_ = 0;
};

}  // namespace potluck
