// UTF-8 and the character classes of jinja_text.h (ranges from the Unicode Character Database).

#include <algorithm>
#include <array>

#include "model/chat/jinja_text.h"

namespace potluck::model::chat::jinja {

namespace {

bool is_continuation(std::string_view text, std::size_t at) {
    return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0U) == 0x80U;
}

std::uint32_t low_bits(char c) {
    return static_cast<unsigned char>(c) & 0x3fU;
}

bool between(std::uint32_t c, std::uint32_t low, std::uint32_t high) {
    return c >= low && c <= high;
}

/// Latin Extended-A alternates upper and lower case; these are the blocks in which the upper-case
/// letter is even.
bool even_is_upper(std::uint32_t c) {
    return between(c, 0x100, 0x137) || between(c, 0x14a, 0x177) || between(c, 0x460, 0x481) ||
           between(c, 0x48a, 0x4bf) || between(c, 0x4d0, 0x52f) || between(c, 0x1e00, 0x1e95) ||
           between(c, 0x1ea0, 0x1eff);
}
bool odd_is_upper(std::uint32_t c) {
    return between(c, 0x139, 0x148) || between(c, 0x179, 0x17e) || between(c, 0x4c1, 0x4ce);
}
bool is_caseless_latin(std::uint32_t c) {
    return c == 0x130 || c == 0x131 || c == 0x138;
}

struct Range {
    std::uint32_t low, high;
};

}  // namespace

CodePoint code_point_at(std::string_view text, std::size_t at) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0x80) return {lead, 1};
    if (lead >= 0xc2 && lead < 0xe0 && is_continuation(text, at + 1)) {
        return {((lead & 0x1fU) << 6U) | low_bits(text[at + 1]), 2};
    }
    if (lead >= 0xe0 && lead < 0xf0 && is_continuation(text, at + 1) &&
        is_continuation(text, at + 2)) {
        const std::uint32_t c =
            ((lead & 0x0fU) << 12U) | (low_bits(text[at + 1]) << 6U) | low_bits(text[at + 2]);
        if (c >= 0x800) return {c, 3};
    }
    if (lead >= 0xf0 && lead < 0xf5 && is_continuation(text, at + 1) &&
        is_continuation(text, at + 2) && is_continuation(text, at + 3)) {
        const std::uint32_t c = ((lead & 0x07U) << 18U) | (low_bits(text[at + 1]) << 12U) |
                                (low_bits(text[at + 2]) << 6U) | low_bits(text[at + 3]);
        if (c >= 0x10000 && c <= 0x10ffff) return {c, 4};
    }
    return {0xdc00U + lead, 1};  // as Python's "surrogateescape" names a stray byte
}

std::size_t count_code_points(std::string_view text) {
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); at += code_point_at(text, at).size)
        ++count;
    return count;
}

std::vector<std::size_t> code_point_offsets(std::string_view text) {
    std::vector<std::size_t> offsets;
    offsets.reserve(text.size() + 1);
    for (std::size_t at = 0; at < text.size(); at += code_point_at(text, at).size) {
        offsets.push_back(at);
    }
    offsets.push_back(text.size());
    return offsets;
}

void append_utf8(std::string& out, std::uint32_t c) {
    const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xc0U | (c >> 6U));
        put(0x80U | (c & 0x3fU));
    } else if (c < 0x10000) {
        put(0xe0U | (c >> 12U));
        put(0x80U | ((c >> 6U) & 0x3fU));
        put(0x80U | (c & 0x3fU));
    } else {
        put(0xf0U | (c >> 18U));
        put(0x80U | ((c >> 12U) & 0x3fU));
        put(0x80U | ((c >> 6U) & 0x3fU));
        put(0x80U | (c & 0x3fU));
    }
}

bool is_space(std::uint32_t c) {
    return between(c, 0x09, 0x0d) || between(c, 0x1c, 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || between(c, 0x2000, 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

bool is_printable(std::uint32_t c) {
    static constexpr auto kNot = std::to_array<Range>({
        {0x00, 0x1f},     {0x7f, 0xa0},       {0xad, 0xad},       {0x600, 0x605},
        {0x61c, 0x61c},   {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x1680, 0x1680},
        {0x180e, 0x180e}, {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},
        {0x3000, 0x3000}, {0xd800, 0xf8ff},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},
        {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff},
    });
    return std::none_of(kNot.begin(), kNot.end(),
                        [c](const Range& range) { return between(c, range.low, range.high); });
}

std::uint32_t to_upper(std::uint32_t c) {
    if (c < 0x80) return between(c, 'a', 'z') ? c - 32 : c;
    if (c == 0xb5) return 0x39c;
    if (between(c, 0xe0, 0xfe)) return c == 0xf7 ? c : c - 32;
    if (c == 0xff) return 0x178;
    if (is_caseless_latin(c)) return c == 0x131 ? 'I' : c;
    if (even_is_upper(c)) return c & ~1U;
    if (odd_is_upper(c)) return (c & 1U) != 0 ? c : c - 1;
    if (c == 0x3ac) return 0x386;
    if (between(c, 0x3ad, 0x3af)) return c - 37;
    if (c == 0x3c2) return 0x3a3;
    if (between(c, 0x3b1, 0x3cb)) return c - 32;
    if (c == 0x3cc) return 0x38c;
    if (c == 0x3cd || c == 0x3ce) return c - 63;
    if (between(c, 0x430, 0x44f)) return c - 32;
    if (between(c, 0x450, 0x45f)) return c - 80;
    return c;
}

std::uint32_t to_lower(std::uint32_t c) {
    if (c < 0x80) return between(c, 'A', 'Z') ? c + 32 : c;
    if (between(c, 0xc0, 0xde)) return c == 0xd7 ? c : c + 32;
    if (c == 0x178) return 0xff;
    if (is_caseless_latin(c)) return c;
    if (even_is_upper(c)) return c | 1U;
    if (odd_is_upper(c)) return (c & 1U) != 0 ? c + 1 : c;
    if (c == 0x386) return 0x3ac;
    if (between(c, 0x388, 0x38a)) return c + 37;
    if (c == 0x38c) return 0x3cc;
    if (c == 0x38e || c == 0x38f) return c + 63;
    if (between(c, 0x391, 0x3ab) && c != 0x3a2) return c + 32;
    if (between(c, 0x410, 0x42f)) return c + 32;
    if (between(c, 0x400, 0x40f)) return c + 80;
    return c;
}

bool is_upper(std::uint32_t c) {
    return to_lower(c) != c;
}
bool is_lower(std::uint32_t c) {
    return to_upper(c) != c || c == 0xdf;
}
bool is_digit(std::uint32_t c) {
    return between(c, '0', '9');
}

bool is_alpha(std::uint32_t c) {
    if (c < 0x80) return between(c, 'a', 'z') || between(c, 'A', 'Z');
    static constexpr auto kLetters = std::to_array<Range>({
        {0xaa, 0xaa},     {0xb5, 0xb5},       {0xba, 0xba},     {0xc0, 0xd6},     {0xd8, 0xf6},
        {0xf8, 0x2c1},    {0x370, 0x373},     {0x376, 0x377},   {0x37b, 0x37d},   {0x386, 0x386},
        {0x388, 0x481},   {0x48a, 0x556},     {0x561, 0x587},   {0x5d0, 0x5ea},   {0x620, 0x64a},
        {0x671, 0x6d3},   {0x904, 0x939},     {0xe01, 0xe30},   {0x10d0, 0x10fa}, {0x1100, 0x1248},
        {0x1e00, 0x1fbc}, {0x3041, 0x3096},   {0x30a1, 0x30fa}, {0x3105, 0x312f}, {0x3131, 0x318e},
        {0x3400, 0x4dbf}, {0x4e00, 0xa48c},   {0xac00, 0xd7a3}, {0xf900, 0xfa6d}, {0xff21, 0xff3a},
        {0xff41, 0xff5a}, {0x20000, 0x323af},
    });
    return std::any_of(kLetters.begin(), kLetters.end(),
                       [c](const Range& range) { return between(c, range.low, range.high); });
}

}  // namespace potluck::model::chat::jinja
