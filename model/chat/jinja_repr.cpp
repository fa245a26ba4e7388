// Python's str() and repr() of values (jinja_value.h).

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "model/chat/jinja_value.h"

namespace potluck::model::chat::jinja {

std::string integer_text(Integer value) {
    return fmt::format("{}", value);
}

std::string real_text(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    // Shortest digits that read back as the same number, then Python's choice of notation:
    // exponents below -4 and from 16 on.
    std::array<char, 64> buffer{};
    const auto [end, unused] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                             std::chars_format::scientific);
    const std::string_view scientific(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
    const std::size_t e = scientific.find('e');
    int exponent = 0;
    const std::size_t sign = scientific[e + 1] == '+' ? 1 : 0;  // from_chars takes no '+'
    std::from_chars(scientific.data() + e + 1 + sign, scientific.data() + scientific.size(),
                    exponent);
    const bool negative = scientific[0] == '-';
    std::string digits;
    for (const char c : scientific.substr(0, e)) {
        if (c >= '0' && c <= '9') digits.push_back(c);
    }
    std::string out = negative ? "-" : "";
    if (exponent < -4 || exponent >= 16) {
        out += digits.substr(0, 1);
        if (digits.size() > 1) out += "." + digits.substr(1);
        return out + fmt::format("e{}{:02}", exponent < 0 ? '-' : '+', std::abs(exponent));
    }
    if (exponent < 0)
        return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    if (digits.size() <= whole)
        return out + digits + std::string(whole - digits.size(), '0') + ".0";
    return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

namespace {

void append_escape(std::string& out, std::uint32_t c, char quote) {
    switch (c) {
        case '\n':
            out += "\\n";
            return;
        case '\r':
            out += "\\r";
            return;
        case '\t':
            out += "\\t";
            return;
        case '\\':
            out += "\\\\";
            return;
        default:
            break;
    }
    if (c == static_cast<unsigned char>(quote)) {
        out += '\\';
        out += quote;
    } else if (is_printable(c)) {
        append_utf8(out, c);
    } else if (c < 0x100) {
        out += fmt::format("\\x{:02x}", c);
    } else if (c < 0x10000) {
        out += fmt::format("\\u{:04x}", c);
    } else {
        out += fmt::format("\\U{:08x}", c);
    }
}

/// Quotes and escapes inside a string from the request count as input too.
Text repr_of_text(const Text& text) {
    const bool has_single = text.view().find('\'') != std::string_view::npos;
    const bool has_double = text.view().find('"') != std::string_view::npos;
    const char quote = has_single && !has_double ? '"' : '\'';
    std::string out(1, quote);
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = code_point_at(text.view(), at);
        append_escape(out, c.value, quote);
        at += c.size;
    }
    out += quote;
    return Text(std::move(out), text.any_input());
}

void append_repr(Text& out, const Value& value, std::size_t level);

void append_items(Text& out, const std::vector<Value>& items, std::size_t level) {
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out.append(", ");
        append_repr(out, items[i], level);
    }
}

void append_sequence(Text& out, const Sequence& sequence, std::size_t level) {
    switch (sequence.kind) {
        case SequenceKind::kRange:
            out.append(sequence.label);
            return;
        case SequenceKind::kTuple:
        case SequenceKind::kGroup:
            out.append("(");
            append_items(out, sequence.items, level);
            out.append(sequence.items.size() == 1 ? ",)" : ")");
            return;
        case SequenceKind::kList:
            break;
        case SequenceKind::kDictKeys:
            out.append("dict_keys(");
            break;
        case SequenceKind::kDictValues:
            out.append("dict_values(");
            break;
        case SequenceKind::kDictItems:
            out.append("dict_items(");
            break;
    }
    out.append("[");
    append_items(out, sequence.items, level);
    out.append(sequence.kind == SequenceKind::kList ? "]" : "])");
}

void append_dict(Text& out, const Dict& dict, std::size_t level) {
    out.append("{");
    bool first = true;
    for (const auto& [key, value] : dict.entries) {
        if (!first) out.append(", ");
        first = false;
        append_repr(out, key, level);
        out.append(": ");
        append_repr(out, value, level);
    }
    out.append("}");
}

/// Namespaces below the top are named, not opened: they may contain themselves.
void append_repr(Text& out, const Value& value, std::size_t level) {
    if (value.is_undefined()) {
        out.append("Undefined");
    } else if (value.is_none()) {
        out.append("None");
    } else if (const bool* b = value.as_bool()) {
        out.append(*b ? "True" : "False");
    } else if (const Integer* i = value.as_integer()) {
        out.append(integer_text(*i));
    } else if (const double* d = value.as_real()) {
        out.append(real_text(*d));
    } else if (const Text* text = value.as_text()) {
        out.append(repr_of_text(*text));
    } else if (const Sequence* sequence = value.as_sequence()) {
        append_sequence(out, *sequence, level + 1);
    } else if (const Dict* dict = value.as_dict()) {
        append_dict(out, *dict, level + 1);
    } else if (const auto* names = value.as<Namespace>()) {
        out.append("<Namespace ");
        if (level == 0) append_dict(out, names->attributes, level + 1);
        out.append(">");
    } else {
        out.append(fmt::format("<{} object>", value.type_name()));
    }
}

}  // namespace

Text to_repr(const Value& value) {
    Text out;
    append_repr(out, value, 0);
    return out;
}

Text to_text(const Value& value) {
    if (const Text* text = value.as_text()) return *text;
    if (value.is_undefined()) return {};
    return to_repr(value);
}

}  // namespace potluck::model::chat::jinja
