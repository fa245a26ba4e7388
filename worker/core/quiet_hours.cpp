#include "worker/core/quiet_hours.h"

#include <fmt/format.h>

#include <algorithm>

namespace potluck::worker {
namespace {

std::optional<int> two_digits(std::string_view text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (text.size() != 2 || !std::ranges::all_of(text, digit)) return std::nullopt;
    return (text[0] - '0') * 10 + (text[1] - '0');
}

/// "18:00" as 1080; 24:00 is 1440.
std::optional<int> parse_time(std::string_view text) {
    if (text.size() != 5 || text[2] != ':') return std::nullopt;
    const auto hours = two_digits(text.substr(0, 2));
    const auto minutes = two_digits(text.substr(3));
    if (!hours || !minutes || *minutes > 59) return std::nullopt;
    const int all = *hours * 60 + *minutes;
    return all <= kMinutesOfDay ? std::optional(all) : std::nullopt;
}

bool within(const QuietWindow& window, int minute) {
    if (window.begin < window.end) return window.begin <= minute && minute < window.end;
    return minute >= window.begin || minute < window.end;
}

}  // namespace

Result<std::vector<QuietWindow>> parse_quiet_hours(std::string_view text) {
    std::vector<QuietWindow> windows;
    while (true) {
        const std::string_view part = text.substr(0, text.find(','));
        const std::size_t dash = part.find('-');
        const auto begin = parse_time(part.substr(0, dash));
        const auto end =
            dash == std::string_view::npos ? std::nullopt : parse_time(part.substr(dash + 1));
        if (!begin || !end || *begin % kMinutesOfDay == *end % kMinutesOfDay) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("quiet hours: '{}' is not like 18:00-23:30", part));
        }
        if (windows.size() == kMaxQuietWindows)
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("quiet hours: more than {} windows", kMaxQuietWindows));
        windows.push_back({*begin % kMinutesOfDay, *end % kMinutesOfDay});
        if (part.size() == text.size()) return windows;
        text.remove_prefix(part.size() + 1);
    }
}

std::optional<int> quiet_until(const std::vector<QuietWindow>& windows, int minute) {
    std::optional<int> until;
    int at = minute;
    // Each window carries us on at most once, or they fill the day.
    for (std::size_t step = 0; step <= windows.size(); ++step) {
        const auto window =
            std::ranges::find_if(windows, [&](const QuietWindow& w) { return within(w, at); });
        if (window == windows.end()) break;
        until = at = window->end;
    }
    return until;
}

std::string time_text(int minute) {
    return fmt::format("{:02}:{:02}", minute / 60, minute % 60);
}

}  // namespace potluck::worker
