#pragma once

// Strings as templates see them: UTF-8 text that remembers which of its bytes came from the
// request. Every string operation goes through Text, so that the marks cannot be lost by accident.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace potluck::model::chat::jinja {

class Text {
  public:
    /// Bytes [begin, end) came from the request.
    struct Span {
        std::size_t begin = 0;
        std::size_t end = 0;
        bool operator==(const Span&) const = default;
    };

    Text() = default;
    explicit Text(std::string bytes, bool from_input = false);

    const std::string& bytes() const { return bytes_; }
    std::string_view view() const { return bytes_; }
    std::size_t size() const { return bytes_.size(); }
    bool empty() const { return bytes_.empty(); }
    /// Sorted, disjoint, not touching, not empty.
    const std::vector<Span>& input() const { return input_; }
    bool any_input() const { return !input_.empty(); }
    bool input_at(std::size_t byte) const;

    void append(std::string_view bytes, bool from_input = false);
    void append(const Text& other);
    void append(const Text& other, std::size_t begin, std::size_t end);

    Text slice(std::size_t begin, std::size_t end) const;

  private:
    void mark(std::size_t begin, std::size_t end);

    std::string bytes_;
    std::vector<Span> input_;
};

// --- UTF-8. Bytes that are not valid UTF-8 count as one character each. ---

struct CodePoint {
    std::uint32_t value = 0;
    std::size_t size = 1;  ///< bytes
};
/// Needs at < text.size().
CodePoint code_point_at(std::string_view text, std::size_t at);
std::size_t count_code_points(std::string_view text);
/// The byte where each code point starts, and the size as the last entry.
std::vector<std::size_t> code_point_offsets(std::string_view text);
void append_utf8(std::string& out, std::uint32_t code_point);

// --- Character classes of Python's str: exact for ASCII, Latin-1, Latin Extended-A, Greek and
// Cyrillic; characters of other alphabets have no case here. ---

bool is_space(std::uint32_t c);
bool is_printable(std::uint32_t c);
bool is_upper(std::uint32_t c);
bool is_lower(std::uint32_t c);
bool is_alpha(std::uint32_t c);
bool is_digit(std::uint32_t c);
std::uint32_t to_upper(std::uint32_t c);
std::uint32_t to_lower(std::uint32_t c);

// --- Operations of str. ---

enum class Side { kLeft, kRight, kBoth };
/// `characters` empty pointer: Unicode white space, as Python's strip().
Text strip(const Text& text, Side side, const std::string* characters = nullptr);
Text upper(const Text& text);
Text lower(const Text& text);
Text capitalize(const Text& text);
Text title(const Text& text);  ///< Python's str.title
Text swapcase(const Text& text);
/// limit < 0: all. An empty `from` matches between all characters.
Text replace(const Text& text, const Text& from, const Text& to, std::int64_t limit);
/// limit < 0: all. `separator` null: runs of white space; it must not be empty.
std::vector<Text> split(const Text& text, const std::string* separator, std::int64_t limit);
std::vector<Text> split_right(const Text& text, const std::string* separator, std::int64_t limit);
std::vector<Text> split_lines(const Text& text, bool keep_ends);
Text repeat(const Text& text, std::size_t times);

}  // namespace potluck::model::chat::jinja
