#include "engine/pace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace potluck::engine {
namespace {

constexpr double kMaxNs = 60e9;
constexpr double kMaxFactor = 1000;
constexpr std::size_t kMaxPoints = 64;

tl::unexpected<Error> bad(std::string_view text, std::string_view what) {
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("pace '{}': {} (10ms, 8ms+0.1ms, 1:10ms/8:12ms or x3)", text, what));
}

/// The whole text as a number; nothing if it is none.
std::optional<double> number(std::string_view text) {
    double value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

/// "10ms", "250us", "1s" in nanoseconds; nothing if it is no time above zero and within bounds.
std::optional<double> duration_ns(std::string_view text) {
    struct Unit {
        std::string_view suffix;
        double ns;
    };
    for (const auto& unit : {Unit{"ms", 1e6}, Unit{"us", 1e3}, Unit{"s", 1e9}}) {
        if (!text.ends_with(unit.suffix)) continue;
        const auto value = number(text.substr(0, text.size() - unit.suffix.size()));
        if (!value || !(*value > 0) || *value * unit.ns > kMaxNs) return std::nullopt;
        return *value * unit.ns;
    }
    return std::nullopt;
}

}  // namespace

Status Pace::parse_points(std::string_view text) {
    if (text.find(':') == std::string_view::npos) {
        const auto plus = text.find('+');
        const auto base = duration_ns(text.substr(0, plus));
        if (!base) return bad(text, "is no time between 0 and a minute");
        if (plus == std::string_view::npos) {
            points_ = {{1, *base}};
            return {};
        }
        const auto per_row = duration_ns(text.substr(plus + 1));
        if (!per_row) return bad(text, "is no time per row between 0 and a minute");
        points_ = {{1, *base + *per_row}, {2, *base + 2 * *per_row}};
        return {};
    }
    while (!text.empty()) {
        const auto slash = std::min(text.find('/'), text.size());
        const auto entry = text.substr(0, slash);
        text.remove_prefix(std::min(slash + 1, text.size()));
        const auto colon = entry.find(':');
        const auto rows = number(entry.substr(0, std::min(colon, entry.size())));
        const auto ns =
            colon == std::string_view::npos ? std::nullopt : duration_ns(entry.substr(colon + 1));
        if (!rows || !ns) return bad(entry, "is not ROWS:TIME");
        if (!(*rows >= 1) || (!points_.empty() && *rows <= points_.back().rows)) {
            return bad(entry, "rows must ascend, from 1 on");
        }
        if (points_.size() == kMaxPoints) return bad(entry, "there are too many entries");
        points_.push_back({*rows, *ns});
    }
    return {};
}

Result<Pace> Pace::parse(std::string_view text) {
    Pace pace;
    pace.text_ = std::string(text);
    if (text.starts_with('x')) {
        const auto factor = number(text.substr(1));
        if (!factor || !(*factor >= 1) || *factor > kMaxFactor) {
            return bad(text, "is no factor between 1 and 1000");
        }
        pace.factor_ = *factor;
        return pace;
    }
    POTLUCK_TRY(pace.parse_points(text));
    return pace;
}

nanoseconds Pace::time(std::size_t rows, nanoseconds measured) const {
    const auto rounded = [](double ns) { return nanoseconds(static_cast<std::int64_t>(ns)); };
    if (factor_ > 0) return rounded(factor_ * static_cast<double>(measured.count()));
    const auto n = static_cast<double>(rows);
    const auto after = std::find_if(points_.begin(), points_.end(),
                                    [&](const Point& point) { return point.rows >= n; });
    if (after == points_.begin() || points_.size() == 1) return rounded(points_.front().ns);
    // Beyond the last one the slope of the last two goes on, but time never falls.
    const Point& high = after == points_.end() ? points_.back() : *after;
    const Point& low = *(&high - 1);
    const double ns = low.ns + (high.ns - low.ns) * (n - low.rows) / (high.rows - low.rows);
    return rounded(after == points_.end() ? std::max(ns, high.ns) : ns);
}

}  // namespace potluck::engine
