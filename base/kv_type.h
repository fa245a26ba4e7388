#pragma once

// How the keys and values of a KV cache are stored: names, sizes, and which of them are rotated
// first. What is stored, to the bit, is docs/arithmetic.md.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace potluck {

enum class KvType : std::uint8_t { kF16, kBF16, kQ8_0, kQ5_0, kQ4_0, kTurbo3 };
inline constexpr std::size_t kKvTypes = 6;

/// Values of a head that share a scale in the types of blocks.
inline constexpr std::size_t kKvBlock = 32;
/// Most values of a head that are rotated together (and share a norm in turbo3).
inline constexpr std::size_t kKvGroup = 128;

/// Every type, the most exact first.
std::span<const KvType> kv_types();
/// As people write it: "f16", "q8_0", "turbo3".
std::string_view to_string(KvType type);
/// Nothing if there is no type of that name.
std::optional<KvType> parse_kv_type(std::string_view name);

/// Of keys and of values.
struct KvTypes {
    KvType k = KvType::kF16;
    KvType v = KvType::kF16;

    friend bool operator==(const KvTypes&, const KvTypes&) = default;
};
/// "q8_0", or "k=q8_0,v=q4_0" in any order; what is not named is f16. kInvalidArgument.
Result<KvTypes> parse_kv_types(std::string_view text);
/// What parse_kv_types reads.
std::string to_string(const KvTypes& types);

/// kUnsupported if heads of `head_dim` values cannot be stored as `type`.
Status check_kv_type(KvType type, std::size_t head_dim);
Status check_kv_types(const KvTypes& types, std::size_t head_dim);

/// Bytes of one position of one head; the type fits head_dim.
std::size_t kv_row_bytes(KvType type, std::size_t head_dim);
/// How many values of a head are rotated together before they are stored: the largest power of two
/// that divides head_dim, at most kKvGroup; 0 if the type is not rotated.
std::size_t kv_rotation(KvType type, std::size_t head_dim);

}  // namespace potluck
