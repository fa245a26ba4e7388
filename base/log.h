#pragma once

// One line per event on stderr: "12:34:56.789 info  worker: stage 1 ready". The function that first
// decides which error it is logs it; callers only pass it on.

#include <fmt/core.h>

#include <string>
#include <string_view>

namespace potluck::log {

enum class Level { kDebug, kInfo, kWarning, kError, kOff };

/// Sets the least level shown and the name put before each line (the process' role). Call once,
/// early.
void init(Level level, std::string role);
void write(Level level, std::string_view message);
bool enabled(Level level);

template <typename... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(Level::kDebug))
        write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::kInfo, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void failure(fmt::format_string<Args...> format, Args&&... args) {
    write(Level::kError, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace potluck::log
