#include "tools/netshape/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

namespace potluck::netshape {
namespace {

struct Unit {
    std::string_view name;
    double factor;
};

/// A number, not below zero, and one of the units right behind it.
std::optional<double> parse(std::string_view text, std::span<const Unit> units) {
    double value = 0;
    const auto* end = text.data() + text.size();
    const auto [rest, bad] = std::from_chars(text.data(), end, value);
    if (bad != std::errc() || !std::isfinite(value) || value < 0) return std::nullopt;
    const std::string_view name(rest, static_cast<std::size_t>(end - rest));
    for (const auto& unit : units) {
        if (name == unit.name) return value * unit.factor;
    }
    return std::nullopt;
}

}  // namespace

Result<double> parse_rate(std::string_view text) {
    constexpr auto kUnits = std::to_array<Unit>({{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}});
    const auto rate = parse(text, kUnits);
    if (!rate || *rate < 1 || *rate > 1e12) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("'{}' is no rate: write 1gbit, 100mbit or 64kbit", text));
    }
    return *rate;
}

Result<std::chrono::nanoseconds> parse_time(std::string_view text) {
    constexpr auto kUnits = std::to_array<Unit>({{"us", 1e3}, {"ms", 1e6}, {"s", 1e9}});
    const auto time = parse(text, kUnits);
    if (!time || *time > 60e9) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("'{}' is no time up to a minute: write 0.3ms, 200us or 1s", text));
    }
    return std::chrono::nanoseconds(static_cast<std::int64_t>(*time));
}

Result<std::uint32_t> parse_address(std::string_view text) {
    std::uint32_t address = 0;
    const char* at = text.data();
    const char* end = text.data() + text.size();
    for (int i = 0; i < 4; ++i) {
        std::uint8_t part = 0;
        const auto [rest, bad] = std::from_chars(at, end, part);
        const bool ends = i == 3;
        if (bad != std::errc() || (ends ? rest != end : rest == end || *rest != '.')) {
            return error(ErrorCode::kInvalidArgument, fmt::format("'{}' is no IPv4 address", text));
        }
        address = address << 8 | part;
        at = rest + 1;
    }
    return address;
}

Result<double> parse_share(std::string_view text) {
    constexpr auto kUnits = std::to_array<Unit>({{"", 1}});
    const auto share = parse(text, kUnits);
    if (!share || *share > 1) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("'{}' is no share from 0 to 1", text));
    }
    return *share;
}

}  // namespace potluck::netshape
