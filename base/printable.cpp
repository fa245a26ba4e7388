#include "base/printable.h"

#include <fmt/format.h>

#include <cstdint>

namespace potluck {
namespace {

std::uint8_t byte_at(std::string_view text, std::size_t i) {
    return static_cast<std::uint8_t>(text[i]);
}

/// Length of the UTF-8 sequence at `i`, or 0 if it is invalid or a control character.
std::size_t shown_length(std::string_view text, std::size_t i) {
    const std::uint8_t lead = byte_at(text, i);
    if (lead < 0x80) return lead >= 0x20 && lead != 0x7F ? 1 : 0;
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || text.size() - i < length) return 0;
    for (std::size_t k = 1; k < length; ++k)
        if ((byte_at(text, i + k) & 0xC0) != 0x80) return 0;
    const std::uint8_t second = byte_at(text, i + 1);
    const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
    const bool surrogate = lead == 0xED && second >= 0xA0;
    const bool too_large = lead == 0xF4 && second >= 0x90;
    const bool c1_control = lead == 0xC2 && second < 0xA0;  // some terminals obey these
    return overlong || surrogate || too_large || c1_control ? 0 : length;
}

}  // namespace

std::string printable(std::string_view text, std::size_t limit) {
    std::string out;
    std::size_t i = 0;
    while (i < text.size() && i < limit) {
        if (const std::size_t length = shown_length(text, i); length > 0) {
            out.append(text.substr(i, length));
            i += length;
        } else if (text[i] == '\n') {
            out += "\\n";
            ++i;
        } else {
            out += fmt::format("\\x{:02x}", byte_at(text, i));
            ++i;
        }
    }
    if (i < text.size()) out += "...";
    return out;
}

}  // namespace potluck
