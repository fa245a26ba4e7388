#include <fmt/format.h>

#include <string>

#include "base/printable.h"
#include "model/gguf/gguf.h"
#include "model/gguf/shard.h"

namespace potluck::model::gguf {

std::string_view to_string(ValueType type) {
    switch (type) {
        case ValueType::kU8:
            return "u8";
        case ValueType::kI8:
            return "i8";
        case ValueType::kU16:
            return "u16";
        case ValueType::kI16:
            return "i16";
        case ValueType::kU32:
            return "u32";
        case ValueType::kI32:
            return "i32";
        case ValueType::kF32:
            return "f32";
        case ValueType::kBool:
            return "bool";
        case ValueType::kString:
            return "string";
        case ValueType::kArray:
            return "array";
        case ValueType::kU64:
            return "u64";
        case ValueType::kI64:
            return "i64";
        case ValueType::kF64:
            return "f64";
    }
    return "unknown";
}

std::size_t scalar_bytes(ValueType type) {
    switch (type) {
        case ValueType::kU8:
        case ValueType::kI8:
        case ValueType::kBool:
            return 1;
        case ValueType::kU16:
        case ValueType::kI16:
            return 2;
        case ValueType::kU32:
        case ValueType::kI32:
        case ValueType::kF32:
            return 4;
        case ValueType::kU64:
        case ValueType::kI64:
        case ValueType::kF64:
            return 8;
        case ValueType::kString:
        case ValueType::kArray:
            break;
    }
    return 0;
}

Result<std::uint64_t> as_uint(const KeyValue& kv, std::string_view file) {
    if (const auto* value = std::get_if<std::uint64_t>(&kv.value)) return *value;
    const auto* value = std::get_if<std::int64_t>(&kv.value);
    if (value != nullptr && *value >= 0) return static_cast<std::uint64_t>(*value);
    return file_error(ErrorCode::kCorrupt, file, "key", kv.key, kv.offset,
                      value != nullptr
                          ? fmt::format("must not be negative, but is {}", *value)
                          : fmt::format("must be an integer, but is a {}", to_string(kv.type)));
}

tl::unexpected<Error> file_error(ErrorCode code, std::string_view file, std::string_view kind,
                                 std::string_view name, std::uint64_t offset,
                                 std::string_view why) {
    return error(
        code, fmt::format("{}: {} '{}' at byte {}: {}", file, kind, printable(name), offset, why));
}

}  // namespace potluck::model::gguf
