#include <cstdint>

#include "coordinator/api/response.h"

namespace potluck::coordinator::api {

namespace {

/// Length of the well-formed character at the start of `s` (Unicode, table 3-7); 0 if there is
/// none.
std::size_t character_length(std::string_view s) {
    const auto byte = [&](std::size_t i) {
        return i < s.size() ? static_cast<std::uint8_t>(s[i]) : std::uint8_t{0};
    };
    const auto in = [](std::uint8_t b, int low, int high) { return b >= low && b <= high; };
    const std::uint8_t lead = byte(0);
    if (lead < 0x80) return 1;
    if (in(lead, 0xC2, 0xDF)) return in(byte(1), 0x80, 0xBF) ? 2 : 0;
    if (in(lead, 0xE0, 0xEF)) {
        const int low = lead == 0xE0 ? 0xA0 : 0x80;
        const int high = lead == 0xED ? 0x9F : 0xBF;
        return in(byte(1), low, high) && in(byte(2), 0x80, 0xBF) ? 3 : 0;
    }
    if (in(lead, 0xF0, 0xF4)) {
        const int low = lead == 0xF0 ? 0x90 : 0x80;
        const int high = lead == 0xF4 ? 0x8F : 0xBF;
        const bool tail = in(byte(2), 0x80, 0xBF) && in(byte(3), 0x80, 0xBF);
        return in(byte(1), low, high) && tail ? 4 : 0;
    }
    return 0;
}

}  // namespace

std::string replace_invalid_utf8(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size());
    while (!bytes.empty()) {
        const std::size_t length = character_length(bytes);
        if (length == 0) {
            out += "\xEF\xBF\xBD";
            bytes.remove_prefix(1);
        } else {
            out += bytes.substr(0, length);
            bytes.remove_prefix(length);
        }
    }
    return out;
}

}  // namespace potluck::coordinator::api
