#include "model/chat/jinja_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

namespace potluck::model::chat::jinja {

namespace json = boost::json;

namespace {

Result<Value> convert(const json::value& in, bool from_input, std::size_t level) {
    if (level > kMaxValueDepth) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("a variable is nested deeper than {} levels", kMaxValueDepth));
    }
    switch (in.kind()) {
        case json::kind::null:
            return Value::none();
        case json::kind::bool_:
            return Value::boolean(in.get_bool());
        case json::kind::int64:
            return Value::integer(in.get_int64());
        case json::kind::uint64:
            return Value::integer(in.get_uint64());
        case json::kind::double_:
            return Value::real(in.get_double());
        case json::kind::string: {
            const json::string& text = in.get_string();
            return Value::string(Text(std::string(text.data(), text.size()), from_input));
        }
        case json::kind::array: {
            std::vector<Value> items;
            items.reserve(in.get_array().size());
            for (const json::value& item : in.get_array()) {
                POTLUCK_ASSIGN(Value value, convert(item, from_input, level + 1));
                items.push_back(std::move(value));
            }
            return Value::list(std::move(items));
        }
        case json::kind::object: {
            Dict dict;
            dict.entries.reserve(in.get_object().size());
            for (const auto& entry : in.get_object()) {
                POTLUCK_ASSIGN(Value value, convert(entry.value(), from_input, level + 1));
                dict.entries.emplace_back(Value::string(Text(std::string(entry.key()), from_input)),
                                          std::move(value));
            }
            return Value::dict(std::move(dict));
        }
    }
    return Value::none();
}

void append_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
    out += '"';
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = code_point_at(text, at);
        switch (c.value) {
            case '"':
                out += "\\\"";
                break;
            case '\\':
                out += "\\\\";
                break;
            case '\n':
                out += "\\n";
                break;
            case '\r':
                out += "\\r";
                break;
            case '\t':
                out += "\\t";
                break;
            case '\f':
                out += "\\f";
                break;
            case '\b':
                out += "\\b";
                break;
            default:
                if (c.value < 0x20 || (ensure_ascii && c.value >= 0x7f && c.value < 0x10000)) {
                    out += fmt::format("\\u{:04x}", c.value);
                } else if (ensure_ascii && c.value >= 0x10000) {
                    const std::uint32_t offset = c.value - 0x10000;
                    out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (offset >> 10U),
                                       0xdc00 + (offset & 0x3ffU));
                } else {
                    out.append(text, at, c.size);
                }
        }
        at += c.size;
    }
    out += '"';
}

std::string json_real(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return real_text(value);
}

class Writer {
  public:
    explicit Writer(const JsonStyle& style) : style_(style) {}

    Status write(const Value& value, std::size_t level) {
        if (const Text* text = value.as_text()) {
            any_input_ = any_input_ || text->any_input();
            append_json_string(out_, text->view(), style_.ensure_ascii);
        } else if (const Sequence* sequence = value.as_sequence()) {
            return write_sequence(value, *sequence, level);
        } else if (const Dict* dict = value.as_dict()) {
            return write_dict(*dict, level);
        } else {
            POTLUCK_ASSIGN(const std::string scalar, scalar_text(value));
            out_ += scalar;
        }
        return {};
    }
    Text take() { return Text(std::move(out_), any_input_); }

  private:
    static tl::unexpected<Error> refuse(const Value& value) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("Object of type {} is not JSON serializable", value.type_name()));
    }

    static Result<std::string> scalar_text(const Value& value) {
        if (value.is_none()) return std::string("null");
        if (const bool* b = value.as_bool()) return std::string(*b ? "true" : "false");
        if (const Integer* i = value.as_integer()) return integer_text(*i);
        if (const double* d = value.as_real()) return json_real(*d);
        return refuse(value);
    }

    void new_line(std::size_t level) {
        if (!style_.pretty) return;
        out_ += '\n';
        for (std::size_t i = 0; i < level; ++i)
            out_ += style_.indent;
    }

    Status write_sequence(const Value& value, const Sequence& sequence, std::size_t level) {
        if (sequence.kind != SequenceKind::kList && sequence.kind != SequenceKind::kTuple &&
            sequence.kind != SequenceKind::kGroup) {
            return refuse(value);
        }
        if (sequence.items.empty()) {
            out_ += "[]";
            return {};
        }
        out_ += '[';
        for (std::size_t i = 0; i < sequence.items.size(); ++i) {
            if (i > 0) out_ += style_.item_separator;
            new_line(level + 1);
            POTLUCK_TRY(write(sequence.items[i], level + 1));
        }
        new_line(level);
        out_ += ']';
        return {};
    }

    Status write_key(const Value& key) {
        if (const Text* text = key.as_text()) {
            any_input_ = any_input_ || text->any_input();
            append_json_string(out_, text->view(), style_.ensure_ascii);
            return {};
        }
        if (!key.is_number() && !key.is_none()) {
            return error(
                ErrorCode::kInvalidArgument,
                fmt::format("keys must be str, int, float, bool or None, not {}", key.type_name()));
        }
        POTLUCK_ASSIGN(const std::string scalar, scalar_text(key));
        append_json_string(out_, scalar, style_.ensure_ascii);
        return {};
    }

    Status write_dict(const Dict& dict, std::size_t level) {
        if (dict.entries.empty()) {
            out_ += "{}";
            return {};
        }
        std::vector<const std::pair<Value, Value>*> entries;
        for (const auto& entry : dict.entries)
            entries.push_back(&entry);
        if (style_.sort_keys) POTLUCK_TRY(sort_by_key(entries));
        out_ += '{';
        for (std::size_t i = 0; i < entries.size(); ++i) {
            if (i > 0) out_ += style_.item_separator;
            new_line(level + 1);
            POTLUCK_TRY(write_key(entries[i]->first));
            out_ += style_.key_separator;
            POTLUCK_TRY(write(entries[i]->second, level + 1));
        }
        new_line(level);
        out_ += '}';
        return {};
    }

    /// Keys are short; a tuple among them is refused before it could be compared at length.
    static Status sort_by_key(std::vector<const std::pair<Value, Value>*>& entries) {
        for (const auto* entry : entries) {
            if (entry->first.as_sequence() != nullptr) return refuse(entry->first);
        }
        Status status;
        Effort effort{std::numeric_limits<std::uint64_t>::max()};
        std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
            if (!status) return false;
            const Result<bool> before = less(a->first, b->first, effort);
            if (!before) status = tl::make_unexpected(before.error());
            return before.value_or(false);
        });
        return status;
    }

    const JsonStyle& style_;
    std::string out_;
    bool any_input_ = false;
};

}  // namespace

Result<Value> from_json(const json::value& in, bool from_input) {
    return convert(in, from_input, 0);
}

Result<Text> to_json(const Value& value, const JsonStyle& style) {
    Writer writer(style);
    POTLUCK_TRY(writer.write(value, 0));
    return writer.take();
}

}  // namespace potluck::model::chat::jinja
