#include "base/byte_text.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace potluck {

std::string byte_text(std::uint64_t bytes) {
    constexpr auto kUnits = std::to_array<std::string_view>({"KiB", "MiB", "GiB", "TiB", "PiB"});
    if (bytes < 1024) return fmt::format("{} B", bytes);
    auto value = static_cast<double>(bytes) / 1024.0;
    std::size_t unit = 0;
    for (; value >= 1023.95 && unit + 1 < kUnits.size(); ++unit)
        value /= 1024.0;
    return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

}  // namespace potluck
