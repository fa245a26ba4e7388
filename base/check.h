#pragma once

// POTLUCK_CHECK states what only a bug of ours could break. It stays on in production and ends the
// process. Nothing that comes from a file, a socket, a prompt or a peer may reach one.

namespace potluck {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}  // namespace potluck

#define POTLUCK_CHECK(condition)            \
    (static_cast<bool>(condition) ? void(0) \
                                  : ::potluck::check_failed(#condition, __FILE__, __LINE__))
