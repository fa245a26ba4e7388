// strftime in the C locale (jinja_format.h), with glibc's "-" and "_" flags for numbers.

#include <fmt/format.h>

#include <array>

#include "model/chat/jinja_format.h"

namespace potluck::model::chat::jinja {

namespace {

constexpr auto kDays = std::to_array<std::string_view>(
    {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"});
constexpr auto kMonths =
    std::to_array<std::string_view>({"January", "February", "March", "April", "May", "June", "July",
                                     "August", "September", "October", "November", "December"});

struct LocalTime {
    int year, month, day, weekday, day_of_year;  ///< weekday: 0 is Sunday
    int hour, minute, second;
    std::int64_t utc_offset_s;
};

LocalTime split_time(std::chrono::sys_seconds local, std::chrono::seconds utc_offset) {
    const auto midnight = std::chrono::floor<std::chrono::days>(local);
    const std::chrono::year_month_day date{midnight};
    const std::chrono::hh_mm_ss clock{local - midnight};
    const std::chrono::sys_days new_year{date.year() / std::chrono::January / 1};
    return {
        .year = static_cast<int>(date.year()),
        .month = static_cast<int>(static_cast<unsigned>(date.month())),
        .day = static_cast<int>(static_cast<unsigned>(date.day())),
        .weekday = static_cast<int>(std::chrono::weekday{midnight}.c_encoding()),
        .day_of_year = static_cast<int>((midnight - new_year).count()) + 1,
        .hour = static_cast<int>(clock.hours().count()),
        .minute = static_cast<int>(clock.minutes().count()),
        .second = static_cast<int>(clock.seconds().count()),
        .utc_offset_s = utc_offset.count(),
    };
}

std::string number(int value, int width, char pad, char flag) {
    if (flag == '-') return fmt::format("{}", value);
    if (flag == '_') pad = ' ';
    if (flag == '0') pad = '0';
    return pad == ' ' ? fmt::format("{:{}}", value, width) : fmt::format("{:0{}}", value, width);
}

std::string_view composite(char letter) {
    switch (letter) {
        case 'F':
            return "%Y-%m-%d";
        case 'T':
        case 'X':
            return "%H:%M:%S";
        case 'R':
            return "%H:%M";
        case 'D':
        case 'x':
            return "%m/%d/%y";
        case 'c':
            return "%a %b %e %H:%M:%S %Y";
        case 'r':
            return "%I:%M:%S %p";
        default:
            return {};
    }
}

std::string zone(const LocalTime& time) {
    const std::int64_t minutes = std::abs(time.utc_offset_s) / 60;
    return fmt::format("{}{:02}{:02}", time.utc_offset_s < 0 ? '-' : '+', minutes / 60,
                       minutes % 60);
}

/// Empty if the letter is not known.
std::string field(const LocalTime& t, char letter, char flag) {
    const auto weekday = static_cast<std::size_t>(t.weekday);
    const auto month = static_cast<std::size_t>(t.month - 1);
    const int hour12 = t.hour % 12 == 0 ? 12 : t.hour % 12;
    switch (letter) {
        case 'a':
            return std::string(kDays[weekday].substr(0, 3));
        case 'A':
            return std::string(kDays[weekday]);
        case 'b':
        case 'h':
            return std::string(kMonths[month].substr(0, 3));
        case 'B':
            return std::string(kMonths[month]);
        case 'd':
            return number(t.day, 2, '0', flag);
        case 'e':
            return number(t.day, 2, ' ', flag);
        case 'm':
            return number(t.month, 2, '0', flag);
        case 'y':
            return number(t.year % 100, 2, '0', flag);
        case 'Y':
            return number(t.year, 1, '0', flag);
        case 'C':
            return number(t.year / 100, 2, '0', flag);
        case 'H':
            return number(t.hour, 2, '0', flag);
        case 'k':
            return number(t.hour, 2, ' ', flag);
        case 'I':
            return number(hour12, 2, '0', flag);
        case 'l':
            return number(hour12, 2, ' ', flag);
        case 'M':
            return number(t.minute, 2, '0', flag);
        case 'S':
            return number(t.second, 2, '0', flag);
        case 'f':
            return "000000";
        case 'p':
            return t.hour < 12 ? "AM" : "PM";
        case 'P':
            return t.hour < 12 ? "am" : "pm";
        case 'j':
            return number(t.day_of_year, 3, '0', flag);
        case 'w':
            return number(t.weekday, 1, '0', flag);
        case 'u':
            return number(t.weekday == 0 ? 7 : t.weekday, 1, '0', flag);
        case 'U':
            return number((t.day_of_year + 6 - t.weekday) / 7, 2, '0', flag);
        case 'W':
            return number((t.day_of_year + 6 - (t.weekday + 6) % 7) / 7, 2, '0', flag);
        case 'z':
            return zone(t);
        case 'n':
            return "\n";
        case 't':
            return "\t";
        case '%':
            return "%";
        default:
            return {};
    }
}

}  // namespace

Result<std::string> format_time(std::string_view format, std::chrono::sys_seconds local,
                                std::chrono::seconds utc_offset) {
    const LocalTime time = split_time(local, utc_offset);
    std::string out;
    for (std::size_t at = 0; at < format.size(); ++at) {
        if (format[at] != '%') {
            out += format[at];
            continue;
        }
        if (++at == format.size()) return value_error("strftime_now: the format ends in '%'");
        char flag = ' ';
        if ((format[at] == '-' || format[at] == '_' || format[at] == '0') &&
            at + 1 < format.size()) {
            flag = format[at++];
        }
        if (const std::string_view parts = composite(format[at]); !parts.empty()) {
            POTLUCK_ASSIGN(const std::string expanded, format_time(parts, local, utc_offset));
            out += expanded;
            continue;
        }
        if (format[at] == 'Z') continue;  // the renderer knows no name of a time zone
        const std::string shown = field(time, format[at], flag);
        if (shown.empty()) {
            return value_error(
                fmt::format("strftime_now: the format '%{}' is not supported", format[at]));
        }
        out += shown;
    }
    return out;
}

}  // namespace potluck::model::chat::jinja
