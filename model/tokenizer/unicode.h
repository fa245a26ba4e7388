#pragma once

// UTF-8 and the classes of characters that pre-tokenizers ask for.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace potluck::model::unicode {

/// One bit per class, so that a set of classes is a mask. Every code point has exactly one bit;
/// White_Space goes before the general category.
enum CharClass : std::uint16_t {
    kOther = 1 << 0,
    kUpper = 1 << 1,        ///< Lu
    kLower = 1 << 2,        ///< Ll
    kTitle = 1 << 3,        ///< Lt
    kModifier = 1 << 4,     ///< Lm
    kOtherLetter = 1 << 5,  ///< Lo
    kMark = 1 << 6,         ///< M
    kNumber = 1 << 7,       ///< N
    kPunctuation = 1 << 8,  ///< P
    kSymbol = 1 << 9,       ///< S
    kSpace = 1 << 10,       ///< White_Space
};
inline constexpr std::uint16_t kLetter = kUpper | kLower | kTitle | kModifier | kOtherLetter;

inline constexpr char32_t kReplacement = 0xFFFD;

/// One character of a text; past the end everything is zero, which no mask matches.
struct Char {
    char32_t code = 0;
    std::uint16_t mask = 0;
    std::uint8_t size = 0;  ///< bytes
};

/// Looks code points up in two steps; made once from the generated runs.
class ClassTable {
  public:
    static const ClassTable& instance();  ///< immutable, made at the first call

    std::uint16_t mask(char32_t code) const { return blocks_[index_[code >> 8]][code & 0xFF]; }
    /// The character at `pos` of valid UTF-8, or nothing at `end`.
    Char at(std::string_view text, std::size_t pos, std::size_t end) const;

  private:
    ClassTable();
    std::array<std::uint16_t, 0x1100> index_{};
    std::vector<std::array<std::uint16_t, 256>> blocks_;
};

/// Bytes of the well-formed UTF-8 character that starts at `pos` (Unicode 15, table 3-7); 0 if
/// there is none.
std::size_t valid_length(std::string_view text, std::size_t pos);

/// Bytes of the longest beginning of a well-formed character at `pos`, at least 1 for an invalid
/// one; `complete` tells whether a whole character is there. (Unicode calls it the maximal
/// subpart.)
std::size_t subpart_length(std::string_view text, std::size_t pos, bool& complete);

void append_utf8(std::string& out, char32_t code);

/// The characters of valid UTF-8.
char32_t decode_at(std::string_view text, std::size_t pos, std::size_t& size);

/// Appends `text` with every byte that is not part of a well-formed character as its own U+FFFD.
void append_sanitized(std::string& out, std::string_view text);

/// Appends the well-formed characters of `text` and one U+FFFD per ill-formed subpart, up to an
/// unfinished character at the end; returns how many bytes were consumed (all but at most three).
std::size_t append_complete(std::string& out, std::string_view text);

inline Char ClassTable::at(std::string_view text, std::size_t pos, std::size_t end) const {
    if (pos >= end) return {};
    const auto lead = static_cast<unsigned char>(text[pos]);
    if (lead < 0x80) return {lead, blocks_[0][lead], 1};
    std::size_t size = 0;
    const char32_t code = decode_at(text, pos, size);
    return {code, mask(code), static_cast<std::uint8_t>(size)};
}

inline char32_t decode_at(std::string_view text, std::size_t pos, std::size_t& size) {
    const auto byte = [&](std::size_t i) {
        return static_cast<char32_t>(static_cast<unsigned char>(text[pos + i]));
    };
    const char32_t lead = byte(0);
    if (lead < 0x80) {
        size = 1;
        return lead;
    }
    if (lead < 0xE0) {
        size = 2;
        return ((lead & 0x1F) << 6) | (byte(1) & 0x3F);
    }
    if (lead < 0xF0) {
        size = 3;
        return ((lead & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F);
    }
    size = 4;
    return ((lead & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) |
           (byte(3) & 0x3F);
}

}  // namespace potluck::model::unicode
