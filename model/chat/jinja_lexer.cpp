#include "model/chat/jinja_lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace potluck::model::chat::jinja {

tl::unexpected<Error> syntax_error(Position position, std::string_view message) {
    return error(ErrorCode::kCorrupt, fmt::format("chat template line {}, column {}: {}",
                                                  position.line, position.column, message));
}

std::string normalize_source(std::string_view source) {
    std::string out;
    out.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) {
        if (source[i] == '\r') {
            out += '\n';
            if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
        } else {
            out += source[i];
        }
    }
    if (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
}

namespace {

constexpr std::size_t kNone = std::string_view::npos;

bool is_name_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
bool is_digit_byte(char c) {
    return c >= '0' && c <= '9';
}

class Lexer {
  public:
    explicit Lexer(std::string_view source) : source_(normalize_source(source)) {}

    Result<std::vector<Token>> run() {
        while (at_ < source_.size())
            POTLUCK_TRY(root());
        add(TokenType::kEnd, at_);
        return std::move(tokens_);
    }

  private:
    // --- Outside of tags ---

    /// Text up to the next tag, then the tag.
    Status root() {
        const std::size_t tag = find_tag(at_);
        if (tag == kNone) {
            add_data(at_, source_.size());
            at_ = source_.size();
            return {};
        }
        const char kind = source_[tag + 1];
        const char sign = sign_at(tag + 2);
        add_data(at_, strip_before(at_, tag, sign, kind == '{'));
        at_ = tag + (sign == ' ' ? 2 : 3);
        line_starting_ = false;
        if (kind == '#') return comment(tag);
        if (kind == '{') return tag_tokens(tag, TokenType::kPrintBegin, TokenType::kPrintEnd);
        if (const std::size_t body = raw_begin(tag); body != kNone) return raw(tag, body);
        return tag_tokens(tag, TokenType::kBlockBegin, TokenType::kBlockEnd);
    }

    std::size_t find_tag(std::size_t from) const {
        for (std::size_t at = source_.find('{', from); at != kNone;
             at = source_.find('{', at + 1)) {
            if (at + 1 >= source_.size()) return kNone;
            const char next = source_[at + 1];
            if (next == '{' || next == '%' || next == '#') return at;
        }
        return kNone;
    }

    char sign_at(std::size_t at) const {
        const char c = at < source_.size() ? source_[at] : ' ';
        return c == '-' || c == '+' ? c : ' ';
    }

    /// Where the text [begin, end) before a tag ends once white space control has been applied.
    std::size_t strip_before(std::size_t begin, std::size_t end, char sign, bool print) const {
        const std::string_view text = std::string_view(source_).substr(begin, end - begin);
        if (sign == '-') return begin + strip(Text(std::string(text)), Side::kRight).size();
        if (sign == '+' || print) return end;
        const std::size_t line_break = text.rfind('\n');
        const std::size_t line = line_break == kNone ? 0 : line_break + 1;
        if (line == 0 && !line_starting_) return end;
        const Text last{std::string(text.substr(line))};
        return strip(last, Side::kBoth).empty() ? begin + line : end;
    }

    /// Consumes the end of a block, comment or raw tag at at_ (which names `sign`%} or `sign`#}).
    void finish_tag(char sign) {
        at_ += sign == ' ' ? 2 : 3;
        line_starting_ = false;
        if (sign == '-') {
            const std::size_t before = at_;
            skip_space();
            line_starting_ = at_ > before && source_[at_ - 1] == '\n';
        } else if (sign == ' ' && at_ < source_.size() && source_[at_] == '\n') {
            ++at_;
            line_starting_ = true;
        }
    }

    Status comment(std::size_t tag) {
        const std::size_t end = source_.find("#}", at_);
        if (end == kNone) return syntax_error(position(tag), "missing end of comment tag");
        // "{#-#}" has one minus: it belongs to the beginning.
        const char sign = end > at_ ? sign_at(end - 1) : ' ';
        at_ = sign == ' ' ? end : end - 1;
        finish_tag(sign);
        return {};
    }

    /// The end of a {% raw %} tag at `tag`, or kNone.
    std::size_t raw_begin(std::size_t tag) {
        std::size_t at = skip_space_from(tag + (sign_at(tag + 2) == ' ' ? 2 : 3));
        if (source_.compare(at, 3, "raw") != 0) return kNone;
        at = skip_space_from(at + 3);
        if (source_.compare(at, 2, "%}") == 0) return at + 2;
        if (source_.compare(at, 3, "-%}") == 0) return skip_space_from(at + 3);
        return kNone;
    }

    Status raw(std::size_t tag, std::size_t body) {
        line_starting_ = body > 0 && source_[body - 1] == '\n';
        for (std::size_t end = source_.find("{%", body); end != kNone;
             end = source_.find("{%", end + 1)) {
            const char sign = sign_at(end + 2);
            std::size_t at = skip_space_from(end + (sign == ' ' ? 2 : 3));
            if (source_.compare(at, 6, "endraw") != 0) continue;
            at = skip_space_from(at + 6);
            const char end_sign = sign_at(at);
            if (source_.compare(at + (end_sign == ' ' ? 0 : 1), 2, "%}") != 0) continue;
            add_data(body, strip_before(body, end, sign, false));
            at_ = at;
            finish_tag(end_sign);
            return {};
        }
        return syntax_error(position(tag), "missing end of raw directive");
    }

    // --- Inside of tags ---

    Status tag_tokens(std::size_t tag, TokenType begin, TokenType end) {
        const bool print = begin == TokenType::kPrintBegin;
        const std::string_view closing = print ? "}}" : "%}";
        add(begin, tag);
        std::string open;  // brackets waiting for their partner
        for (;;) {
            skip_space();
            if (at_ >= source_.size()) {
                return syntax_error(position(tag), fmt::format("missing '{}'", closing));
            }
            const char sign = closing_sign(closing);
            if (open.empty() && sign != 0) {
                add(end, at_);
                close_tag(sign, print);
                return {};
            }
            POTLUCK_TRY(token(open));
        }
    }

    /// The sign of the closing tag at at_, ' ' without one; 0 if there is none here.
    char closing_sign(std::string_view closing) const {
        if (source_.compare(at_, 2, closing) == 0) return ' ';
        const char sign = sign_at(at_);
        if (sign == ' ' || (sign == '+' && closing == "}}")) return 0;
        return source_.compare(at_ + 1, 2, closing) == 0 ? sign : '\0';
    }

    void close_tag(char sign, bool print) {
        if (!print) return finish_tag(sign);
        at_ += sign == ' ' ? 2 : 3;
        line_starting_ = false;
        if (sign == '-') {
            const std::size_t before = at_;
            skip_space();
            line_starting_ = at_ > before && source_[at_ - 1] == '\n';
        }
    }

    Status token(std::string& open) {
        const char c = source_[at_];
        if (is_digit_byte(c)) return number();
        if (is_name_byte(c) || static_cast<unsigned char>(c) >= 0x80) return name();
        if (c == '\'' || c == '"') return string(c);
        return operator_token(open);
    }

    Status name() {
        const std::size_t begin = at_;
        while (at_ < source_.size()) {
            if (is_name_byte(source_[at_])) {
                ++at_;
                continue;
            }
            const CodePoint c = code_point_at(source_, at_);
            if (c.value < 0x80 || !is_alpha(c.value)) break;
            at_ += c.size;
        }
        if (at_ == begin) return syntax_error(position(at_), "unexpected character");
        add(TokenType::kName, begin, source_.substr(begin, at_ - begin));
        return {};
    }

    /// The end of digits (in groups parted by single underscores) that start at `from`.
    std::size_t digits_end(std::size_t from) const {
        std::size_t at = from;
        while (at < source_.size()) {
            if (is_digit_byte(source_[at])) {
                ++at;
            } else if (source_[at] == '_' && at > from && at + 1 < source_.size() &&
                       is_digit_byte(source_[at + 1])) {
                ++at;
            } else {
                break;
            }
        }
        return at;
    }

    Status number() {
        const std::size_t begin = at_;
        const bool after_dot = begin > 0 && source_[begin - 1] == '.';
        std::size_t end = digits_end(begin);
        if (!after_dot) {
            const std::size_t whole = end;
            if (end + 1 < source_.size() && source_[end] == '.' &&
                is_digit_byte(source_[end + 1])) {
                end = digits_end(end + 1);
            }
            if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
                std::size_t exponent = end + 1;
                if (sign_at(exponent) != ' ') ++exponent;
                if (digits_end(exponent) > exponent) end = digits_end(exponent);
            }
            if (end != whole) return real(begin, end);
        }
        return integer(begin, end);
    }

    std::string without_underscores(std::size_t begin, std::size_t end) const {
        std::string digits = source_.substr(begin, end - begin);
        std::erase(digits, '_');
        return digits;
    }

    Status real(std::size_t begin, std::size_t end) {
        const std::string digits = without_underscores(begin, end);
        double value = 0;
        const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (parsed.ec != std::errc{}) {
            return syntax_error(position(begin), "this number is out of range");
        }
        at_ = end;
        add(TokenType::kReal, begin);
        tokens_.back().number = Value::real(value);
        return {};
    }

    /// Decimal, 0x, 0o and 0b. A leading zero ends the number ("007" is three tokens, as in Jinja).
    Status integer(std::size_t begin, std::size_t end) {
        std::uint32_t base = 10;
        std::size_t digits = begin;
        if (source_[begin] == '0') {
            const char letter =
                begin + 2 < source_.size() ? static_cast<char>(source_[begin + 1] | 0x20) : ' ';
            const std::uint32_t wanted = letter == 'x'   ? 16
                                         : letter == 'o' ? 8
                                         : letter == 'b' ? 2
                                                         : 10;
            if (wanted != 10 && digit_value(source_[begin + 2]) < wanted) {
                base = wanted;
                digits = begin + 2;
                end = digits;
                while (end < source_.size() && digit_value(source_[end]) < base)
                    ++end;
            } else {
                end = begin;
                while (end < source_.size() && source_[end] == '0')
                    ++end;
            }
        }
        Integer value = 0;
        for (const char c : without_underscores(digits, end)) {
            if (__builtin_mul_overflow(value, static_cast<Integer>(base), &value) ||
                __builtin_add_overflow(value, static_cast<Integer>(digit_value(c)), &value)) {
                return syntax_error(position(begin), "this number is out of range");
            }
        }
        at_ = end;
        add(TokenType::kInteger, begin);
        tokens_.back().number = Value::integer(value);
        return {};
    }

    static std::uint32_t digit_value(char c) {
        if (is_digit_byte(c)) return static_cast<std::uint32_t>(c - '0');
        const char letter = static_cast<char>(c | 0x20);
        if (letter >= 'a' && letter <= 'f') return static_cast<std::uint32_t>(letter - 'a') + 10;
        return 99;
    }

    Status string(char quote) {
        const std::size_t begin = at_;
        std::string text;
        for (++at_;;) {
            if (at_ >= source_.size()) {
                return syntax_error(position(begin), "this string does not end");
            }
            const char c = source_[at_];
            if (c == quote) break;
            ++at_;
            if (c != '\\') {
                text += c;
            } else if (at_ < source_.size()) {
                POTLUCK_TRY(escape(text));
            }
        }
        ++at_;
        add(TokenType::kString, begin, std::move(text));
        return {};
    }

    /// Python's escapes; at_ is behind the backslash.
    Status escape(std::string& text) {
        const char c = source_[at_++];
        static constexpr std::string_view kLetters = "abfnrtv\\'\"";
        static constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
        if (const std::size_t i = kLetters.find(c); i != kNone) {
            text += kValues[i];
        } else if (c == 'x') {
            return escape_code(text, 2);
        } else if (c == 'u') {
            return escape_code(text, 4);
        } else if (c == 'U') {
            return escape_code(text, 8);
        } else if (c >= '0' && c <= '7') {
            std::uint32_t value = digit_value(c);
            for (int more = 0; more < 2 && at_ < source_.size() && digit_value(source_[at_]) < 8;
                 ++more) {
                value = value * 8 + digit_value(source_[at_++]);
            }
            append_utf8(text, value);
        } else if (c == 'N') {
            return error(ErrorCode::kUnsupported,
                         syntax_error(position(at_ - 2), "\\N{...} in a string is not supported")
                             .value()
                             .message);
        } else if (c != '\n') {
            text += '\\';
            text += c;
        }
        return {};
    }

    Status escape_code(std::string& text, std::size_t digits) {
        const std::size_t begin = at_ - 2;
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            if (at_ >= source_.size() || digit_value(source_[at_]) > 15) {
                return syntax_error(position(begin), "truncated escape in a string");
            }
            value = value * 16 + digit_value(source_[at_++]);
        }
        if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
            return syntax_error(position(begin), "this escape is not a character");
        }
        append_utf8(text, value);
        return {};
    }

    Status operator_token(std::string& open) {
        static constexpr auto kOperators = std::to_array<std::string_view>(
            {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
             "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"});
        for (const std::string_view op : kOperators) {
            if (source_.compare(at_, op.size(), op) != 0) continue;
            POTLUCK_TRY(balance(op, open));
            add(TokenType::kOperator, at_, std::string(op));
            at_ += op.size();
            return {};
        }
        return syntax_error(position(at_), fmt::format("unexpected character '{}'", source_[at_]));
    }

    Status balance(std::string_view op, std::string& open) {
        if (op == "(") open += ')';
        if (op == "[") open += ']';
        if (op == "{") open += '}';
        if (op != ")" && op != "]" && op != "}") return {};
        if (open.empty()) return syntax_error(position(at_), fmt::format("unexpected '{}'", op));
        if (open.back() != op[0]) {
            return syntax_error(position(at_),
                                fmt::format("unexpected '{}', expected '{}'", op, open.back()));
        }
        open.pop_back();
        return {};
    }

    // --- Shared ---

    std::size_t skip_space_from(std::size_t at) const {
        while (at < source_.size()) {
            const CodePoint c = code_point_at(source_, at);
            if (!is_space(c.value)) break;
            at += c.size;
        }
        return at;
    }
    void skip_space() { at_ = skip_space_from(at_); }

    void add_data(std::size_t begin, std::size_t end) {
        if (begin < end) add(TokenType::kData, begin, source_.substr(begin, end - begin));
    }
    void add(TokenType type, std::size_t at, std::string text = {}) {
        tokens_.push_back({type, std::move(text), {}, position(at)});
    }

    /// Positions are asked for in rising order, nearly always: keeps a running count.
    Position position(std::size_t at) {
        if (at < counted_) {
            counted_ = 0;
            here_ = {};
        }
        for (; counted_ < at; ++counted_) {
            const auto byte = static_cast<unsigned char>(source_[counted_]);
            if (byte == '\n') {
                here_ = {here_.line + 1, 1};
            } else if ((byte & 0xc0U) != 0x80U) {
                ++here_.column;
            }
        }
        return here_;
    }

    std::string source_;
    std::size_t at_ = 0;
    bool line_starting_ = true;  ///< the text at at_ begins a line
    std::vector<Token> tokens_;
    std::size_t counted_ = 0;
    Position here_;  ///< of byte counted_
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
    return Lexer(source).run();
}

}  // namespace potluck::model::chat::jinja
