#pragma once

// A cursor over little-endian bytes. Every read is bounds-checked; a read that fails consumes
// nothing and says so by returning false, so that the caller can say what it was looking for.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace potluck::model::gguf {

static_assert(std::endian::native == std::endian::little, "GGUF values are copied as they are");

/// An unaligned load; the caller has checked the bounds.
template <typename T>
T load(std::span<const std::byte> bytes, std::size_t position = 0) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    std::memcpy(&value, bytes.data() + position, sizeof value);
    return value;
}

class Reader {
  public:
    explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    std::uint64_t position() const { return position_; }
    std::uint64_t remaining() const { return bytes_.size() - position_; }

    template <typename T>
    [[nodiscard]] bool read(T& out) {
        if (remaining() < sizeof(T)) return false;
        out = load<T>(bytes_, position_);
        position_ += sizeof(T);
        return true;
    }

    [[nodiscard]] bool read_bytes(std::uint64_t count, std::span<const std::byte>& out) {
        if (remaining() < count) return false;
        out = bytes_.subspan(position_, count);
        position_ += count;
        return true;
    }

    /// Length (u64), then that many bytes, of which there may be at most `limit`.
    [[nodiscard]] bool read_string(std::uint64_t limit, std::string_view& out) {
        if (remaining() < sizeof(std::uint64_t)) return false;
        const auto length = load<std::uint64_t>(bytes_, position_);
        if (length > limit || length > remaining() - sizeof length) return false;
        const auto* first = bytes_.data() + position_ + sizeof length;
        out = {reinterpret_cast<const char*>(first), length};
        position_ += sizeof length + length;
        return true;
    }

  private:
    std::span<const std::byte> bytes_;
    std::size_t position_ = 0;
};

}  // namespace potluck::model::gguf
