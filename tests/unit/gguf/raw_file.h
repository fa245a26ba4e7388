#pragma once

// Builds GGUF bytes by hand, so that tests can break any single one of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "model/gguf/gguf.h"

namespace potluck::model::gguf::test {

class RawFile {
  public:
    RawFile& text(std::string_view bytes) { return raw(std::as_bytes(std::span(bytes))); }
    RawFile& raw(std::span<const std::byte> bytes) {
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    template <typename T>
    RawFile& number(T value) {
        static_assert(std::is_arithmetic_v<T>);
        return raw(std::as_bytes(std::span(&value, 1)));
    }
    RawFile& u32(std::uint32_t value) { return number(value); }
    RawFile& u64(std::uint64_t value) { return number(value); }
    RawFile& string(std::string_view value) { return u64(value.size()).text(value); }
    RawFile& header(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
        return text("GGUF").u32(version).u64(tensors).u64(keys);
    }
    /// Key and value type; the value follows.
    RawFile& key(std::string_view name, std::uint32_t type) { return string(name).u32(type); }
    RawFile& tensor(std::string_view name, std::initializer_list<std::uint64_t> dims,
                    std::uint32_t type, std::uint64_t offset) {
        string(name).u32(static_cast<std::uint32_t>(dims.size()));
        for (const auto dim : dims)
            u64(dim);
        return u32(type).u64(offset);
    }
    RawFile& zeros(std::size_t count) {
        bytes_.resize(bytes_.size() + count);
        return *this;
    }
    RawFile& pad(std::size_t alignment) {
        return zeros((alignment - bytes_.size() % alignment) % alignment);
    }

    std::size_t size() const { return bytes_.size(); }
    const std::vector<std::byte>& bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

inline constexpr std::uint32_t kU8 = 0, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8,
                               kArray = 9, kU64 = 10;
inline constexpr std::uint32_t kTypeF32 = 0, kTypeQ8_0 = 8;

/// Parses `bytes`, expects `code`, the file's name and every one of `parts` in the message.
inline void expect_error(std::span<const std::byte> bytes, ErrorCode code,
                         std::initializer_list<std::string> parts) {
    const auto file = Gguf::parse(bytes, "broken.gguf");
    ASSERT_FALSE(file.has_value());
    EXPECT_EQ(to_string(file.error().code), to_string(code)) << file.error().message;
    EXPECT_THAT(file.error().message, testing::StartsWith("broken.gguf: "));
    for (const auto& part : parts)
        EXPECT_THAT(file.error().message, testing::HasSubstr(part));
}
inline void expect_error(const RawFile& file, ErrorCode code,
                         std::initializer_list<std::string> parts) {
    expect_error(file.bytes(), code, parts);
}

inline std::string at(std::size_t offset) {
    return "at byte " + std::to_string(offset) + ":";
}

}  // namespace potluck::model::gguf::test
