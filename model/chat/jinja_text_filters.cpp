// Filters that make text from text (jinja_tables.h). As in Jinja, most take the str() of any value.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/chat/jinja_format.h"
#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

template <Text (*kMap)(const Text&)>
Result<Value> map_text(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("filter", arguments, {}, 0));
    POTLUCK_ASSIGN(const Text text, run.text_of(value));
    POTLUCK_TRY(run.charge(text.size() * kCharacterWork));
    return Value::string(kMap(text));
}

Text same(const Text& text) {
    return text;
}

Text escape_html(const Text& text) {
    Text out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        const bool marked = text.input_at(at);
        switch (text.view()[at]) {
            case '&':
                out.append("&amp;", marked);
                break;
            case '<':
                out.append("&lt;", marked);
                break;
            case '>':
                out.append("&gt;", marked);
                break;
            case '\'':
                out.append("&#39;", marked);
                break;
            case '"':
                out.append("&#34;", marked);
                break;
            default:
                out.append(text, at, at + 1);
        }
    }
    return out;
}

/// Jinja's own: words also begin behind - ( { [ <, and the rest becomes lower case.
Text title_words(const Text& text) {
    Text out;
    bool starts = true;
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = code_point_at(text.view(), at);
        const Text one = text.slice(at, at + c.size);
        out.append(starts ? upper(one) : lower(one));
        const bool is_break = c.value == '-' || c.value == '(' || c.value == '{' ||
                              c.value == '[' || c.value == '<' || is_space(c.value);
        starts = is_break;
        at += c.size;
    }
    return out;
}

Result<Value> trim(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("trim", arguments, {"chars"}, 0));
    POTLUCK_ASSIGN(const Text text, run.text_of(value));
    if (args[0] == nullptr || args[0]->is_none()) return Value::string(strip(text, Side::kBoth));
    POTLUCK_ASSIGN(const Text* characters, need_text("trim", *args[0]));
    return Value::string(strip(text, Side::kBoth, &characters->bytes()));
}

Result<Value> replace_text(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("replace", arguments, {"old", "new", "count"}, 2));
    POTLUCK_ASSIGN(const Text text, run.text_of(value));
    POTLUCK_ASSIGN(const Text from, run.text_of(*args[0]));
    POTLUCK_ASSIGN(const Text to, run.text_of(*args[1]));
    std::int64_t count = -1;
    if (args[2] != nullptr && !args[2]->is_none()) {
        POTLUCK_ASSIGN(count, need_int64(*args[2]));
    }
    return replaced(run, text, from, to, count);
}

Result<Value> indent(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("indent", arguments, {"width", "first", "blank"}, 0));
    POTLUCK_ASSIGN(const Text* text, need_text("indent", value));
    Text indention(std::string(4, ' '));
    if (args[0] != nullptr && args[0]->is_string()) {
        indention = *args[0]->as_text();
    } else if (args[0] != nullptr) {
        POTLUCK_ASSIGN(const std::int64_t width, need_int64(*args[0]));
        const auto spaces = static_cast<std::size_t>(std::max<std::int64_t>(width, 0));
        POTLUCK_TRY(run.charge(spaces));
        indention = Text(std::string(spaces, ' '));
    }
    const bool first = args[1] != nullptr && args[1]->truthy();
    const bool blank = args[2] != nullptr && args[2]->truthy();
    Text with_end = *text;
    with_end.append("\n");
    const std::vector<Text> lines = split_lines(with_end, false);
    POTLUCK_TRY(run.charge(text->size() + lines.size() * (indention.size() + kValueWork)));
    Text out;
    for (std::size_t i = 0; i < lines.size(); ++i) {
        if (i > 0) out.append("\n");
        const bool indented = i == 0 ? first : blank || !lines[i].empty();
        if (indented) out.append(indention);
        out.append(lines[i]);
    }
    return Value::string(std::move(out));
}

Result<Value> center(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("center", arguments, {"width"}, 0));
    POTLUCK_ASSIGN(const Text text, run.text_of(value));
    std::int64_t width = 80;
    if (args[0] != nullptr) {
        POTLUCK_ASSIGN(width, need_int64(*args[0]));
    }
    return padded(run, text, width, Padding::kCenter, " ");
}

Result<Value> format(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Text text, run.text_of(value));
    if (!arguments.positional.empty() && !arguments.named.empty()) {
        return value_error("can't handle positional and keyword arguments at the same time");
    }
    Value values = Value::tuple(arguments.positional);
    if (!arguments.named.empty()) {
        Dict dict;
        for (const auto& [name, named] : arguments.named) {
            POTLUCK_TRY(run.charge(dict.entries.size()));
            dict.set(name, named);
        }
        values = Value::dict(std::move(dict));
    }
    POTLUCK_ASSIGN(Text out, format_percent(run, text, values));
    return Value::string(std::move(out));
}

Result<Value> word_count(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("wordcount", arguments, {}, 0));
    POTLUCK_ASSIGN(const Text text, run.text_of(value));
    std::size_t words = 0;
    bool inside = false;
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = code_point_at(text.view(), at);
        const bool letter = is_alpha(c.value) || is_digit(c.value) || c.value == '_';
        if (letter && !inside) ++words;
        inside = letter;
        at += c.size;
    }
    return Value::size(words);
}

}  // namespace

Result<Value> replaced(Run& run, const Text& text, const Text& from, const Text& to,
                       std::int64_t limit) {
    std::size_t hits = 0;
    if (from.empty()) {
        hits = text.size() + 1;
    } else {
        for (std::size_t at = text.view().find(from.view()); at != std::string_view::npos;
             at = text.view().find(from.view(), at + from.size())) {
            ++hits;
        }
    }
    const std::uint64_t per_hit = to.size() + to.input().size() * sizeof(Text::Span);
    POTLUCK_TRY(run.charge(text.size() + hits * per_hit));
    return Value::string(replace(text, from, to, limit));
}

Result<Value> padded(Run& run, const Text& text, std::int64_t width, Padding padding,
                     std::string_view fill) {
    const std::size_t used = count_code_points(text.view());
    const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(width, 0));
    if (wanted <= used) return Value::string(text);
    const std::size_t missing = wanted - used;
    POTLUCK_TRY(run.charge(wanted * fill.size() + text.size()));
    std::size_t left = 0;
    if (padding == Padding::kLeft) left = missing;
    if (padding == Padding::kCenter) left = missing / 2 + (missing & wanted & 1U);
    Text out;
    for (std::size_t i = 0; i < left; ++i)
        out.append(fill);
    out.append(text);
    for (std::size_t i = left; i < missing; ++i)
        out.append(fill);
    return Value::string(std::move(out));
}

std::span<const FilterEntry> text_filters() {
    static constexpr auto kTable = std::to_array<FilterEntry>({
        {"capitalize", map_text<capitalize>},
        {"center", center},
        {"e", map_text<escape_html>},
        {"escape", map_text<escape_html>},
        {"forceescape", map_text<escape_html>},
        {"format", format},
        {"indent", indent},
        {"lower", map_text<lower>},
        {"replace", replace_text},
        {"safe", map_text<same>},
        {"string", map_text<same>},
        {"title", map_text<title_words>},
        {"trim", trim},
        {"upper", map_text<upper>},
        {"wordcount", word_count},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
