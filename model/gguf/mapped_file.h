#pragma once

// A whole file mapped read-only and shared, unmapped when the owner goes.

#include <cstddef>
#include <filesystem>
#include <span>
#include <utility>

#include "base/result.h"

namespace potluck::model::gguf {

class MappedFile {
  public:
    /// Refuses what is not a regular file. An empty file gives an empty span.
    static Result<MappedFile> open(const std::filesystem::path& path);
    MappedFile() = default;
    ~MappedFile();
    MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    MappedFile& operator=(MappedFile&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }

    std::span<const std::byte> bytes() const { return bytes_; }

    /// Advice for `part`, a span within bytes(): map its pages at once, reading them if need be,
    /// rather than one fault at a time; and let go of them (the system's cache keeps them).
    static void will_read(std::span<const std::byte> part);
    static void forget(std::span<const std::byte> part);

  private:
    explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
    std::span<const std::byte> bytes_;
};

}  // namespace potluck::model::gguf
