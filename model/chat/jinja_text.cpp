#include "model/chat/jinja_text.h"

#include <algorithm>
#include <utility>

namespace potluck::model::chat::jinja {

Text::Text(std::string bytes, bool from_input) : bytes_(std::move(bytes)) {
    if (from_input) mark(0, bytes_.size());
}

bool Text::input_at(std::size_t byte) const {
    auto after = std::upper_bound(input_.begin(), input_.end(), byte,
                                  [](std::size_t at, const Span& span) { return at < span.begin; });
    return after != input_.begin() && byte < std::prev(after)->end;
}

void Text::mark(std::size_t begin, std::size_t end) {
    if (begin == end) return;
    if (!input_.empty() && input_.back().end == begin) {
        input_.back().end = end;
    } else {
        input_.push_back({begin, end});
    }
}

void Text::append(std::string_view bytes, bool from_input) {
    const std::size_t begin = bytes_.size();
    bytes_.append(bytes);
    if (from_input) mark(begin, bytes_.size());
}

void Text::append(const Text& other) {
    append(other, 0, other.size());
}

void Text::append(const Text& other, std::size_t begin, std::size_t end) {
    const std::size_t base = bytes_.size();
    bytes_.append(other.bytes_, begin, end - begin);
    auto span = std::lower_bound(other.input_.begin(), other.input_.end(), begin,
                                 [](const Span& s, std::size_t at) { return s.end <= at; });
    for (; span != other.input_.end() && span->begin < end; ++span) {
        mark(base + std::max(span->begin, begin) - begin, base + std::min(span->end, end) - begin);
    }
}

Text Text::slice(std::size_t begin, std::size_t end) const {
    Text out;
    out.append(*this, begin, end);
    return out;
}

namespace {

/// Builds a text character by character; every piece takes the mark of the byte it stands for.
template <typename Map>
Text map_code_points(const Text& text, Map&& map) {
    Text out;
    std::string buffer;
    const std::string_view bytes = text.view();
    for (std::size_t at = 0; at < bytes.size();) {
        const CodePoint c = code_point_at(bytes, at);
        const std::uint32_t mapped = map(c.value);
        if (mapped == c.value) {
            out.append(text, at, at + c.size);
        } else {
            buffer.clear();
            append_utf8(buffer, mapped);
            out.append(buffer, text.input_at(at));
        }
        at += c.size;
    }
    return out;
}

/// Python maps sharp s to two letters; everything else in our tables is one to one.
Text expand_sharp_s(const Text& text) {
    return replace(text, Text("\u00df"), Text("SS"), -1);
}

bool in_set(std::uint32_t c, const std::string* characters) {
    if (characters == nullptr) return is_space(c);
    for (std::size_t at = 0; at < characters->size();) {
        const CodePoint member = code_point_at(*characters, at);
        if (member.value == c) return true;
        at += member.size;
    }
    return false;
}

/// The start of the code point that ends at `end`.
std::size_t previous_start(std::string_view bytes, std::size_t end) {
    std::size_t start = end - 1;
    while (start > 0 && end - start < 4 &&
           (static_cast<unsigned char>(bytes[start]) & 0xc0U) == 0x80U) {
        --start;
    }
    if (code_point_at(bytes, start).size == end - start) return start;
    return end - 1;
}

}  // namespace

Text strip(const Text& text, Side side, const std::string* characters) {
    const std::string_view bytes = text.view();
    std::size_t begin = 0;
    std::size_t end = bytes.size();
    if (side != Side::kRight) {
        while (begin < end) {
            const CodePoint c = code_point_at(bytes, begin);
            if (!in_set(c.value, characters)) break;
            begin += c.size;
        }
    }
    if (side != Side::kLeft) {
        while (end > begin) {
            const std::size_t start = previous_start(bytes, end);
            if (!in_set(code_point_at(bytes, start).value, characters)) break;
            end = start;
        }
    }
    return text.slice(begin, end);
}

Text upper(const Text& text) {
    return map_code_points(expand_sharp_s(text), to_upper);
}
Text lower(const Text& text) {
    return map_code_points(text, to_lower);
}

Text capitalize(const Text& text) {
    bool first = true;
    return map_code_points(text, [&first](std::uint32_t c) {
        return std::exchange(first, false) ? to_upper(c) : to_lower(c);
    });
}

Text title(const Text& text) {
    bool in_word = false;
    return map_code_points(text, [&in_word](std::uint32_t c) {
        const bool starts = !in_word;
        in_word = is_alpha(c);
        return starts ? to_upper(c) : to_lower(c);
    });
}

Text swapcase(const Text& text) {
    return map_code_points(text,
                           [](std::uint32_t c) { return is_upper(c) ? to_lower(c) : to_upper(c); });
}

Text replace(const Text& text, const Text& from, const Text& to, std::int64_t limit) {
    Text out;
    const std::string_view bytes = text.view();
    std::size_t done = 0;
    if (from.empty()) {
        while (limit != 0) {
            out.append(to);
            if (limit > 0) --limit;
            if (done == bytes.size()) break;
            const std::size_t next = done + code_point_at(bytes, done).size;
            out.append(text, done, next);
            done = next;
        }
        out.append(text, done, bytes.size());
        return out;
    }
    while (limit != 0) {
        const std::size_t hit = bytes.find(from.view(), done);
        if (hit == std::string_view::npos) break;
        out.append(text, done, hit);
        out.append(to);
        done = hit + from.size();
        if (limit > 0) --limit;
    }
    out.append(text, done, bytes.size());
    return out;
}

namespace {

std::vector<Text> split_white_space(const Text& text, std::int64_t limit) {
    std::vector<Text> out;
    const std::string_view bytes = text.view();
    std::size_t at = 0;
    const auto skip = [&](bool space) {
        while (at < bytes.size()) {
            const CodePoint c = code_point_at(bytes, at);
            if (is_space(c.value) != space) break;
            at += c.size;
        }
    };
    for (skip(true); at < bytes.size(); skip(true)) {
        if (limit == 0) {
            out.push_back(text.slice(at, bytes.size()));
            break;
        }
        const std::size_t begin = at;
        skip(false);
        out.push_back(text.slice(begin, at));
        if (limit > 0) --limit;
    }
    return out;
}

std::vector<Text> split_white_space_right(const Text& text, std::int64_t limit) {
    std::vector<Text> out;
    const std::string_view bytes = text.view();
    std::size_t end = bytes.size();
    const auto skip = [&](bool space) {
        while (end > 0) {
            const std::size_t start = previous_start(bytes, end);
            if (is_space(code_point_at(bytes, start).value) != space) break;
            end = start;
        }
    };
    for (skip(true); end > 0; skip(true)) {
        if (limit == 0) {
            out.push_back(text.slice(0, end));
            break;
        }
        const std::size_t stop = end;
        skip(false);
        out.push_back(text.slice(end, stop));
        if (limit > 0) --limit;
    }
    std::reverse(out.begin(), out.end());
    return out;
}

}  // namespace

std::vector<Text> split(const Text& text, const std::string* separator, std::int64_t limit) {
    if (separator == nullptr) return split_white_space(text, limit);
    std::vector<Text> out;
    std::size_t done = 0;
    for (; limit != 0; limit = limit > 0 ? limit - 1 : limit) {
        const std::size_t hit = text.view().find(*separator, done);
        if (hit == std::string_view::npos) break;
        out.push_back(text.slice(done, hit));
        done = hit + separator->size();
    }
    out.push_back(text.slice(done, text.size()));
    return out;
}

std::vector<Text> split_right(const Text& text, const std::string* separator, std::int64_t limit) {
    if (separator == nullptr) return split_white_space_right(text, limit);
    std::vector<Text> out;
    std::size_t end = text.size();
    for (; limit != 0; limit = limit > 0 ? limit - 1 : limit) {
        if (end < separator->size()) break;
        const std::size_t hit = text.view().rfind(*separator, end - separator->size());
        if (hit == std::string_view::npos) break;
        out.push_back(text.slice(hit + separator->size(), end));
        end = hit;
    }
    out.push_back(text.slice(0, end));
    std::reverse(out.begin(), out.end());
    return out;
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
    const auto is_break = [](std::uint32_t c) {
        return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
               c == 0x2029;
    };
    std::vector<Text> out;
    const std::string_view bytes = text.view();
    std::size_t begin = 0;
    for (std::size_t at = 0; at < bytes.size();) {
        const CodePoint c = code_point_at(bytes, at);
        const std::size_t line_end = at;
        at += c.size;
        if (!is_break(c.value)) continue;
        if (c.value == '\r' && at < bytes.size() && bytes[at] == '\n') ++at;
        out.push_back(text.slice(begin, keep_ends ? at : line_end));
        begin = at;
    }
    if (begin < bytes.size()) out.push_back(text.slice(begin, bytes.size()));
    return out;
}

Text repeat(const Text& text, std::size_t times) {
    Text out;
    for (std::size_t i = 0; i < times; ++i)
        out.append(text);
    return out;
}

}  // namespace potluck::model::chat::jinja
