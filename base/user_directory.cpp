#include "base/user_directory.h"

#include <cstdlib>
#include <filesystem>

namespace potluck {
namespace {

namespace fs = std::filesystem;

/// Relative paths do not count.
std::string directory_of(const char* variable, const char* below_home) {
    if (const char* chosen = std::getenv(variable); chosen != nullptr && *chosen == '/')
        return (fs::path(chosen) / "potluck").string();
    if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/')
        return (fs::path(home) / below_home).string();
    return {};
}

}  // namespace

std::string cache_directory() {
    return directory_of("XDG_CACHE_HOME", ".cache/potluck");
}

std::string data_directory() {
    return directory_of("XDG_DATA_HOME", ".local/share/potluck");
}

}  // namespace potluck
