#pragma once

// The content address of an object (a tensor's GGUF bytes, or a manifest): the root of a SHA-256
// tree over its chunks of 1 MiB, as RFC 6962 builds it:
//   leaf(chunk)      = SHA-256(0x00 || chunk)
//   node(left,right) = SHA-256(0x01 || left || right)
//   root of n leaves: n = 1: the leaf; else node(root of the first k, root of the others), k the
//                     largest power of two below n
// The two prefixes keep a chunk from being taken for a node. How many bytes an object has is not in
// its address: whoever names an address says it.
//
// Pure; any thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace potluck::weights {

inline constexpr std::uint64_t kChunkBytes = 1U << 20;
/// Of one object: 64 GiB.
inline constexpr std::uint64_t kMaxChunks = 1U << 16;

using Digest = std::array<std::byte, 32>;

/// An object as it is asked for.
struct ObjectRef {
    Digest root{};
    std::uint64_t bytes = 0;

    friend bool operator==(const ObjectRef&, const ObjectRef&) = default;
};

/// From 1 to kMaxChunks chunks.
bool is_object_size(std::uint64_t bytes);
constexpr std::uint64_t chunk_count(std::uint64_t bytes) {
    return bytes / kChunkBytes + (bytes % kChunkBytes != 0 ? 1 : 0);
}
/// Bytes of one chunk of an object; chunk < chunk_count(bytes).
constexpr std::uint64_t chunk_size(std::uint64_t bytes, std::uint64_t chunk) {
    const std::uint64_t left = bytes - chunk * kChunkBytes;
    return left < kChunkBytes ? left : kChunkBytes;
}

Digest leaf_hash(std::span<const std::byte> chunk);
/// At least one leaf.
Digest root_of(std::span<const Digest> leaves);

std::string to_hex(const Digest& digest);
/// Nothing if these are not 32 bytes.
std::optional<Digest> to_digest(std::string_view bytes);
std::string_view as_text(const Digest& digest);

/// Plain SHA-256 of what is added.
class Sha256 {
  public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    Sha256& add(std::span<const std::byte> bytes);
    Sha256& add(std::uint64_t number);  ///< 8 bytes, little-endian
    /// Once, as the last call.
    Digest finish();

  private:
    struct Free {
        void operator()(evp_md_ctx_st* context) const;
    };
    std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace potluck::weights
