#pragma once

// One file of a model: header, metadata and tensor table, read and checked. Internal to this
// folder; everybody else uses `gguf.h`.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/gguf/gguf.h"
#include "model/gguf/name_index.h"

namespace potluck::model::gguf {

// Bounds of what is accepted, far above any published model. What a file can make us allocate is
// bounded by its size before these are looked at.
inline constexpr std::uint64_t kMaxKeyValues = 1u << 16;
inline constexpr std::uint64_t kMaxTensors = 1u << 20;
inline constexpr std::uint64_t kMaxKeyBytes = 65535;      // the specification's
inline constexpr std::uint64_t kMaxTensorNameBytes = 64;  // idem
inline constexpr std::uint64_t kMaxStringBytes = 64u << 20;
inline constexpr std::uint64_t kMaxArrayElements = 64u << 20;
inline constexpr std::uint64_t kMinAlignment = 8;
inline constexpr std::uint64_t kMaxAlignment = 1u << 20;
inline constexpr std::uint64_t kDefaultAlignment = 32;

/// Views point into the bytes it was parsed from. `TensorInfo::shard` is left at 0.
struct Shard {
    std::uint32_t version = 0;
    std::vector<KeyValue> metadata;
    NameIndex keys;
    std::vector<TensorInfo> tensors;
};

/// `file` is the name for messages. `bytes` may be only the beginning of a file of `file_bytes`:
/// tensors that do not lie in them have no data.
Result<Shard> parse_shard(std::span<const std::byte> bytes, std::uint64_t file_bytes,
                          std::string_view file);

/// Bytes of one number or bool; 0 for strings and arrays.
std::size_t scalar_bytes(ValueType type);

/// Any integer type, not negative. The error names the file, the key and its offset.
Result<std::uint64_t> as_uint(const KeyValue& kv, std::string_view file);

/// The form of every message about a part of a file: "<file>: <kind> '<name>' at byte <n>: <why>".
tl::unexpected<Error> file_error(ErrorCode code, std::string_view file, std::string_view kind,
                                 std::string_view name, std::uint64_t offset, std::string_view why);

}  // namespace potluck::model::gguf
