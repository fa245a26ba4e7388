// Filters of single values: numbers, defaults, JSON (jinja_tables.h).

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "model/chat/jinja_json.h"
#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

Result<Value> absolute(Run&, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("abs", arguments, {}, 0));
    if (const double* d = value.as_real()) return Value::real(std::fabs(*d));
    if (const auto i = value.index()) return Value::integer(*i < 0 ? -*i : *i);
    if (value.is_undefined()) return value_error(value.undefined_hint());
    return value_error(fmt::format("bad operand type for abs(): '{}'", value.type_name()));
}

/// Digits as Python's int() and float() read them: white space around, single underscores between.
std::optional<std::string> plain_digits(const Text& text) {
    const Text stripped = strip(text, Side::kBoth);
    const std::string& bytes = stripped.bytes();
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (bytes[i] != '_') {
            out += bytes[i];
            continue;
        }
        const auto alnum = [&](std::size_t at) {
            return at < bytes.size() && std::isalnum(static_cast<unsigned char>(bytes[at])) != 0;
        };
        if (i == 0 || !alnum(i - 1) || !alnum(i + 1)) return std::nullopt;
    }
    return out;
}

std::optional<Integer> parse_integer(const Text& text, Integer base) {
    const auto digits = plain_digits(text);
    if (!digits || digits->empty() || base < 2 || base > 36) return std::nullopt;
    std::string_view rest = *digits;
    const bool negative = rest.front() == '-';
    if (negative || rest.front() == '+') rest.remove_prefix(1);
    const auto prefixed = [&](Integer wanted, char letter) {
        return base == wanted && rest.size() > 2 && rest[0] == '0' && (rest[1] | 0x20) == letter;
    };
    if (prefixed(16, 'x') || prefixed(8, 'o') || prefixed(2, 'b')) rest.remove_prefix(2);
    if (rest.empty()) return std::nullopt;
    Integer value = 0;
    for (const char c : rest) {
        Integer digit = 99;
        if (c >= '0' && c <= '9') digit = c - '0';
        if (c >= 'a' && c <= 'z') digit = c - 'a' + 10;
        if (c >= 'A' && c <= 'Z') digit = c - 'A' + 10;
        if (digit >= base) return std::nullopt;
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return std::nullopt;
        }
    }
    return negative ? -value : value;
}

std::optional<double> parse_real(const Text& text) {
    const auto digits = plain_digits(text);
    if (!digits || digits->empty()) return std::nullopt;
    std::string_view rest = *digits;
    if (rest.front() == '+') rest.remove_prefix(1);
    if (rest.empty() || (rest.front() == '-' && digits->front() == '+')) return std::nullopt;
    double value = 0;
    const auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    if (end != rest.data() + rest.size()) return std::nullopt;
    // Out of range: infinity or zero, as Python reads it.
    if (ec == std::errc::result_out_of_range) return std::strtod(digits->c_str(), nullptr);
    if (ec != std::errc{}) return std::nullopt;
    return value;
}

std::optional<Integer> truncated(double value) {
    if (!(std::fabs(value) < 1e38)) return std::nullopt;
    return static_cast<Integer>(value);
}

Result<Value> to_integer(Run&, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("int", arguments, {"default", "base"}, 0));
    if (value.is_undefined()) return value_error(value.undefined_hint());
    const Value fallback = args[0] != nullptr ? *args[0] : Value::integer(0);
    Integer base = 10;
    if (args[1] != nullptr) {
        POTLUCK_ASSIGN(base, need_integer(*args[1]));
    }
    if (const auto i = value.index()) return Value::integer(*i);
    std::optional<Integer> number;
    if (const Text* text = value.as_text()) {
        number = parse_integer(*text, base);
        if (const auto real = parse_real(*text); !number && real) number = truncated(*real);
    } else if (const double* d = value.as_real()) {
        number = truncated(*d);
    }
    return number ? Value::integer(*number) : fallback;
}

Result<Value> to_real(Run&, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("float", arguments, {"default"}, 0));
    if (value.is_undefined()) return value_error(value.undefined_hint());
    if (value.is_number()) return Value::real(value.to_double());
    if (const Text* text = value.as_text()) {
        if (const auto real = parse_real(*text)) return Value::real(*real);
    }
    return args[0] != nullptr ? *args[0] : Value::real(0.0);
}

/// Python's round(): to even, on the exact decimal value.
double round_to(double value, std::int64_t precision) {
    if (!std::isfinite(value) || precision > 300) return value;
    if (precision >= 0) {
        const std::string text = fmt::format("{:.{}f}", value, precision);
        return std::strtod(text.c_str(), nullptr);
    }
    if (precision < -308) return 0.0;
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(value / scale) * scale;
}

Result<Value> round_number(Run&, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("round", arguments, {"precision", "method"}, 0));
    std::int64_t precision = 0;
    if (args[0] != nullptr) {
        POTLUCK_ASSIGN(precision, need_int64(*args[0]));
    }
    std::string_view method = "common";
    if (args[1] != nullptr) {
        POTLUCK_ASSIGN(const Text* text, need_text("round", *args[1]));
        method = text->view();
    }
    if (method != "common" && method != "ceil" && method != "floor") {
        return value_error("method must be common, ceil or floor");
    }
    if (value.is_undefined()) return value_error(value.undefined_hint());
    if (!value.is_number()) {
        return value_error(
            fmt::format("type {} doesn't define __round__ method", value.type_name()));
    }
    if (method == "common") {
        if (const auto i = value.index(); i && precision >= 0) return Value::integer(*i);
        if (const auto i = value.index()) {
            return Value::integer(
                truncated(round_to(static_cast<double>(*i), precision)).value_or(0));
        }
        return Value::real(round_to(value.to_double(), precision));
    }
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double scaled = value.to_double() * scale;
    return Value::real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

Result<Value> fallback(Run&, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("default", arguments, {"default_value", "boolean"}, 0));
    const bool boolean = args[1] != nullptr && args[1]->truthy();
    if (!value.is_undefined() && !(boolean && !value.truthy())) return value;
    return args[0] != nullptr ? *args[0] : Value::string(std::string_view());
}

Result<Value> count(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("length", arguments, {}, 0));
    if (const Text* text = value.as_text()) POTLUCK_TRY(run.charge(text->size()));
    if (const auto n = length(value)) return Value::size(*n);
    return value_error(fmt::format("object of type '{}' has no len()", value.type_name()));
}

Result<Value> attribute(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("attr", arguments, {"name"}, 1));
    POTLUCK_ASSIGN(const Text name, run.text_of(*args[0]));
    if (value.as_dict() != nullptr && find_method(MethodOwner::kDict, name.view()) == nullptr) {
        return Value::undefined(fmt::format("'dict object' has no attribute '{}'", name.view()));
    }
    return run.attribute(value, name.view());
}

Status json_indent(Run& run, const Value& value, JsonStyle& style) {
    if (value.is_none()) return {};
    style.pretty = true;
    style.item_separator.assign(1, ',');
    if (const Text* text = value.as_text()) {
        style.indent = text->bytes();
        return {};
    }
    POTLUCK_ASSIGN(const std::int64_t width, need_int64(value));
    if (width > 100) return value_error("tojson: an indent over 100 is not supported");
    style.indent.assign(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
    return run.charge(style.indent.size());
}

Result<Value> json(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(
        const Bound args,
        bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0));
    JsonStyle style;
    style.ensure_ascii = args[0] != nullptr && args[0]->truthy();
    if (args[1] != nullptr) POTLUCK_TRY(json_indent(run, *args[1], style));
    if (args[2] != nullptr && !args[2]->is_none()) {
        const Sequence* pair = args[2]->as_sequence();
        const bool strings = pair != nullptr && pair->items.size() == 2 &&
                             pair->items[0].is_string() && pair->items[1].is_string();
        if (!strings) return value_error("tojson: separators must be two strings");
        style.item_separator = pair->items[0].as_text()->bytes();
        style.key_separator = pair->items[1].as_text()->bytes();
    }
    style.sort_keys = args[3] != nullptr && args[3]->truthy();
    // Each value may print its separators and, when indented, a line of its own.
    const std::uint64_t per_value = style.item_separator.size() + style.key_separator.size() +
                                    style.indent.size() * value.extent().depth + 6;
    POTLUCK_TRY(run.charge(std::min(value.extent().weight, std::uint64_t{1} << 32U) * per_value));
    POTLUCK_ASSIGN(Text text, to_json(value, style));
    return Value::string(std::move(text));
}

}  // namespace

std::span<const FilterEntry> value_filters() {
    static constexpr auto kTable = std::to_array<FilterEntry>({
        {"abs", absolute},
        {"attr", attribute},
        {"count", count},
        {"d", fallback},
        {"default", fallback},
        {"float", to_real},
        {"int", to_integer},
        {"length", count},
        {"round", round_number},
        {"tojson", json},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
