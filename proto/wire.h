#pragma once

// Little-endian numbers in byte arrays, read and written one after another. Private to proto/.
// Numbers are composed from bytes, so that layout and alignment of the machine do not matter;
// compilers make single loads and stores of it.

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"

namespace potluck::proto {

/// Reads in order. Whoever reads has checked the size before: a read past the end is our bug.
class WireReader {
  public:
    explicit WireReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

    template <std::unsigned_integral T>
    T number() {
        POTLUCK_CHECK(bytes_.size() >= sizeof(T));
        std::uint64_t value = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i)
            value |= std::to_integer<std::uint64_t>(bytes_[i]) << (8 * i);
        bytes_ = bytes_.subspan(sizeof(T));
        return static_cast<T>(value);
    }
    std::uint8_t u8() { return number<std::uint8_t>(); }
    std::uint16_t u16() { return number<std::uint16_t>(); }
    std::uint32_t u32() { return number<std::uint32_t>(); }
    std::uint64_t u64() { return number<std::uint64_t>(); }
    std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
    float f32() { return std::bit_cast<float>(u32()); }

    std::span<const std::byte> bytes(std::size_t n) {
        POTLUCK_CHECK(bytes_.size() >= n);
        const auto taken = bytes_.first(n);
        bytes_ = bytes_.subspan(n);
        return taken;
    }
    std::size_t left() const { return bytes_.size(); }

  private:
    std::span<const std::byte> bytes_;
};

/// Writes in order into space that its user has sized; a write past the end is our bug.
class WireWriter {
  public:
    explicit WireWriter(std::span<std::byte> space) : space_(space) {}

    template <std::unsigned_integral T>
    void number(T value) {
        POTLUCK_CHECK(space_.size() >= sizeof(T));
        for (std::size_t i = 0; i < sizeof(T); ++i)
            space_[i] = static_cast<std::byte>(value >> (8 * i));
        space_ = space_.subspan(sizeof(T));
    }
    void u8(std::uint8_t value) { number(value); }
    void u16(std::uint16_t value) { number(value); }
    void u32(std::uint32_t value) { number(value); }
    void u64(std::uint64_t value) { number(value); }
    void i32(std::int32_t value) { number(static_cast<std::uint32_t>(value)); }
    void f32(float value) { number(std::bit_cast<std::uint32_t>(value)); }
    std::size_t left() const { return space_.size(); }

  private:
    std::span<std::byte> space_;
};

}  // namespace potluck::proto
