#include "base/kv_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>

#include "base/check.h"

namespace potluck {
namespace {

struct KvTypeInfo {
    KvType type;
    std::string_view name;
    std::size_t values;  ///< that are stored together; 0: as many as are rotated together
    std::size_t header_bytes;
    std::size_t bits;  ///< of a value
    bool rotated;
};

constexpr auto kInfos = std::to_array<KvTypeInfo>({
    {KvType::kF16, "f16", 1, 0, 16, false},
    {KvType::kBF16, "bf16", 1, 0, 16, false},
    {KvType::kQ8_0, "q8_0", kKvBlock, 2, 8, false},
    {KvType::kQ5_0, "q5_0", kKvBlock, 2, 5, true},
    {KvType::kQ4_0, "q4_0", kKvBlock, 2, 4, true},
    {KvType::kTurbo3, "turbo3", 0, 2, 3, true},
});
static_assert(kInfos.size() == kKvTypes);

constexpr auto kTypes = [] {
    std::array<KvType, kKvTypes> types{};
    for (std::size_t i = 0; i < kKvTypes; ++i)
        types[i] = kInfos[i].type;
    return types;
}();

const KvTypeInfo& info(KvType type) {
    const auto i = static_cast<std::size_t>(type);
    POTLUCK_CHECK(i < kKvTypes && kInfos[i].type == type);
    return kInfos[i];
}

/// The largest power of two that divides n, at most kKvGroup.
std::size_t group_of(std::size_t n) {
    return std::gcd(n, kKvGroup);
}

std::string names() {
    std::string text;
    for (const auto& i : kInfos)
        text += fmt::format("{}{}", text.empty() ? "" : ", ", i.name);
    return text;
}

Result<KvType> parse_one(std::string_view name) {
    if (const auto type = parse_kv_type(name)) return *type;
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("KV type '{}' is not known ({})", name, names()));
}

}  // namespace

std::span<const KvType> kv_types() {
    return kTypes;
}

std::string_view to_string(KvType type) {
    return info(type).name;
}

std::optional<KvType> parse_kv_type(std::string_view name) {
    for (const auto& i : kInfos)
        if (i.name == name) return i.type;
    return std::nullopt;
}

Result<KvTypes> parse_kv_types(std::string_view text) {
    KvTypes types;
    if (text.find('=') == std::string_view::npos) {
        POTLUCK_ASSIGN(types.k, parse_one(text));
        types.v = types.k;
        return types;
    }
    bool seen[2] = {};
    while (true) {
        const std::string_view part = text.substr(0, text.find(','));
        const bool key = part.starts_with("k=");
        if ((!key && !part.starts_with("v=")) || seen[key ? 0 : 1]) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("'{}' is no KV type: expected one name, or k=NAME,v=NAME ({})",
                                     part, names()));
        }
        seen[key ? 0 : 1] = true;
        POTLUCK_ASSIGN((key ? types.k : types.v), parse_one(part.substr(2)));
        if (part.size() == text.size()) return types;
        text.remove_prefix(part.size() + 1);
    }
}

std::string to_string(const KvTypes& types) {
    if (types.k == types.v) return std::string(to_string(types.k));
    return fmt::format("k={},v={}", to_string(types.k), to_string(types.v));
}

Status check_kv_type(KvType type, std::size_t head_dim) {
    if (info(type).values == 1 || head_dim % kKvBlock == 0) return {};
    return error(ErrorCode::kUnsupported,
                 fmt::format("KV type {} needs heads of a multiple of {} values, the model has {}",
                             to_string(type), kKvBlock, head_dim));
}

Status check_kv_types(const KvTypes& types, std::size_t head_dim) {
    POTLUCK_TRY(check_kv_type(types.k, head_dim));
    return check_kv_type(types.v, head_dim);
}

std::size_t kv_row_bytes(KvType type, std::size_t head_dim) {
    const KvTypeInfo& i = info(type);
    const std::size_t values = i.values == 0 ? group_of(head_dim) : i.values;
    return head_dim / values * (i.header_bytes + values * i.bits / 8);
}

std::size_t kv_rotation(KvType type, std::size_t head_dim) {
    return info(type).rotated ? group_of(head_dim) : 0;
}

}  // namespace potluck
