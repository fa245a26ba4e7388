#pragma once

// The hours of the day in which a machine is its owner's alone. Pure: the clock is the caller's.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace potluck::worker {

inline constexpr int kMinutesOfDay = 24 * 60;
inline constexpr std::size_t kMaxQuietWindows = 16;

/// From one minute of the day (0 .. 1439) up to, not with, another. It goes over midnight if the
/// end is not behind the beginning.
struct QuietWindow {
    int begin = 0;
    int end = 0;
    friend bool operator==(const QuietWindow&, const QuietWindow&) = default;
};

/// "18:00-23:30", several separated by commas. 24:00 is midnight. kInvalidArgument, naming the
/// window, if one is malformed or has no length.
Result<std::vector<QuietWindow>> parse_quiet_hours(std::string_view text);

/// The minute of the day until which it is quiet, if it is at `minute`: of windows that overlap or
/// touch, the end of the last. Nothing if it is not quiet.
std::optional<int> quiet_until(const std::vector<QuietWindow>& windows, int minute);

std::string time_text(int minute);  ///< "18:00"

}  // namespace potluck::worker
