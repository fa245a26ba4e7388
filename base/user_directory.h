#pragma once

// Where a user's programs keep things (XDG Base Directory Specification).

#include <string>

namespace potluck {

/// What can be made again: $XDG_CACHE_HOME/potluck or ~/.cache/potluck; empty if neither is known.
std::string cache_directory();
/// What must stay: $XDG_DATA_HOME/potluck or ~/.local/share/potluck; empty if neither is known.
std::string data_directory();

}  // namespace potluck
