#include "model/chat/jinja_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "model/chat/jinja_run.h"

namespace potluck::model::chat::jinja {

namespace {

/// Wider fields than this are refused, so that a format string cannot ask for a huge text.
constexpr std::int64_t kMaxWidth = 10'000;

struct Spec {
    bool left = false, zero = false, plus = false, blank = false, alternate = false;
    std::int64_t width = 0;
    std::optional<std::int64_t> precision;
    char type = 's';
};

class PercentFormatter {
  public:
    PercentFormatter(Run& run, const Text& format, const Value& arguments)
        : run_(run), format_(format), arguments_(arguments) {
        const Sequence* sequence = arguments.as_sequence();
        if (sequence != nullptr && sequence->kind == SequenceKind::kTuple) tuple_ = sequence;
    }

    Result<Text> format() {
        const std::string_view text = format_.view();
        while (at_ < text.size()) {
            const std::size_t percent = std::min(text.find('%', at_), text.size());
            out_.append(format_, at_, percent);
            at_ = percent + 1;
            if (percent < text.size()) POTLUCK_TRY(field());
        }
        // Python takes lists for mappings here, and never misses what it did not print of one.
        const bool mapping = arguments_.as_dict() != nullptr || arguments_.is_undefined() ||
                             arguments_.as_sequence() != nullptr;
        const bool unused =
            tuple_ != nullptr ? next_ < tuple_->items.size() : next_ == 0 && !named_ && !mapping;
        if (unused) {
            return value_error("not all arguments converted during string formatting");
        }
        return std::move(out_);
    }

  private:
    char peek() const { return at_ < format_.size() ? format_.view()[at_] : '\0'; }

    Result<Value> next_argument() {
        if (tuple_ != nullptr && next_ < tuple_->items.size()) return tuple_->items[next_++];
        if (tuple_ == nullptr && next_ == 0) {
            ++next_;
            return arguments_;
        }
        return value_error("not enough arguments for format string");
    }

    Result<std::int64_t> number() {
        if (peek() == '*') {
            ++at_;
            POTLUCK_ASSIGN(const Value value, next_argument());
            POTLUCK_ASSIGN(const std::int64_t given, need_int64(value));
            if (given < -kMaxWidth || given > kMaxWidth) return value_error("width too big");
            return given;
        }
        std::int64_t value = 0;
        for (; peek() >= '0' && peek() <= '9'; ++at_) {
            value = value * 10 + (peek() - '0');
            if (value > kMaxWidth) return value_error("width too big");
        }
        return value;
    }

    Status field() {
        std::optional<Value> argument;
        if (peek() == '(') {
            const std::size_t end = format_.view().find(')', at_);
            if (end == std::string_view::npos) return value_error("incomplete format key");
            if (arguments_.as_dict() == nullptr) return value_error("format requires a mapping");
            const std::string_view key = format_.view().substr(at_ + 1, end - at_ - 1);
            POTLUCK_TRY(run_.charge(arguments_.as_dict()->entries.size()));
            const Value* value = arguments_.as_dict()->find(key);
            if (value == nullptr) return value_error(fmt::format("no such key: '{}'", key));
            argument = *value;
            named_ = true;
            at_ = end + 1;
        }
        Spec spec;
        for (bool flags = true; flags;) {
            switch (peek()) {
                case '-':
                    spec.left = true;
                    break;
                case '0':
                    spec.zero = true;
                    break;
                case '+':
                    spec.plus = true;
                    break;
                case ' ':
                    spec.blank = true;
                    break;
                case '#':
                    spec.alternate = true;
                    break;
                default:
                    flags = false;
            }
            if (flags) ++at_;
        }
        POTLUCK_ASSIGN(spec.width, number());
        if (spec.width < 0) {
            spec.left = true;
            spec.width = -spec.width;
        }
        if (peek() == '.') {
            ++at_;
            POTLUCK_ASSIGN(const std::int64_t precision, number());
            spec.precision = std::max<std::int64_t>(precision, 0);
        }
        spec.type = peek();
        ++at_;
        if (spec.type == '\0') return value_error("incomplete format");
        if (spec.type == '%') {
            out_.append("%");
            return {};
        }
        if (!argument) {
            POTLUCK_ASSIGN(argument, next_argument());
        }
        return convert(spec, *argument);
    }

    Status convert(const Spec& spec, const Value& value) {
        switch (spec.type) {
            case 's': {
                POTLUCK_ASSIGN(const Text text, run_.text_of(value));
                return pad_text(spec, text);
            }
            case 'r': {
                POTLUCK_TRY(run_.charge_walk(value));
                return pad_text(spec, to_repr(value));
            }
            case 'c':
                return character(spec, value);
            case 'd':
            case 'i':
            case 'u':
            case 'x':
            case 'X':
            case 'o':
                return integer(spec, value);
            case 'e':
            case 'E':
            case 'f':
            case 'F':
            case 'g':
            case 'G':
                return real(spec, value);
            default:
                return value_error(fmt::format("unsupported format character '{}'", spec.type));
        }
    }

    Status pad_text(const Spec& spec, const Text& whole) {
        const std::vector<std::size_t> offsets = code_point_offsets(whole.view());
        std::size_t count = offsets.size() - 1;
        if (spec.precision) count = std::min(count, static_cast<std::size_t>(*spec.precision));
        const auto width = static_cast<std::size_t>(spec.width);
        const std::string padding(width - std::min(width, count), ' ');
        POTLUCK_TRY(run_.charge(whole.size() + padding.size()));
        if (!spec.left) out_.append(padding);
        out_.append(whole, 0, offsets[count]);
        if (spec.left) out_.append(padding);
        return {};
    }

    Status character(const Spec& spec, const Value& value) {
        if (const Text* text = value.as_text()) {
            if (count_code_points(text->view()) == 1) return pad_text(spec, *text);
        } else if (const auto code = value.index()) {
            if (*code < 0 || *code > 0x10ffff) return value_error("%c arg not in range(0x110000)");
            std::string bytes;
            append_utf8(bytes, static_cast<std::uint32_t>(*code));
            return pad_text(spec, Text(std::move(bytes)));
        }
        return value_error("%c requires int or char");
    }

    Status pad_number(const Spec& spec, bool negative, std::string_view prefix,
                      std::string digits) {
        std::string sign = negative ? "-" : spec.plus ? "+" : spec.blank ? " " : "";
        sign += prefix;
        const auto width = static_cast<std::size_t>(spec.width);
        const std::size_t used = sign.size() + digits.size();
        const std::size_t missing = width - std::min(width, used);
        if (spec.zero && !spec.left) {
            digits.insert(0, missing, '0');
            out_.append(sign + digits);
        } else if (spec.left) {
            out_.append(sign + digits + std::string(missing, ' '));
        } else {
            out_.append(std::string(missing, ' ') + sign + digits);
        }
        return run_.charge(used + missing);
    }

    Status integer(const Spec& spec, const Value& value) {
        const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
        std::optional<Integer> number = value.index();
        if (const double* d = value.as_real(); d != nullptr && decimal) {
            if (!(std::fabs(*d) < 1e38)) return value_error("cannot convert float to integer");
            number = static_cast<Integer>(*d);
        }
        if (!number) {
            return value_error(fmt::format("%{} format: a{} number is required, not {}", spec.type,
                                           decimal ? " real" : "n integer", value.type_name()));
        }
        const bool negative = *number < 0;
        __extension__ using Unsigned = unsigned __int128;
        const Unsigned magnitude =
            negative ? -static_cast<Unsigned>(*number) : static_cast<Unsigned>(*number);
        std::string digits;
        std::string_view prefix;
        switch (spec.type) {
            case 'x':
                digits = fmt::format("{:x}", magnitude);
                prefix = "0x";
                break;
            case 'X':
                digits = fmt::format("{:X}", magnitude);
                prefix = "0X";
                break;
            case 'o':
                digits = fmt::format("{:o}", magnitude);
                prefix = "0o";
                break;
            default:
                digits = fmt::format("{}", magnitude);
                break;
        }
        if (!spec.alternate) prefix = {};
        if (spec.precision && digits.size() < static_cast<std::size_t>(*spec.precision)) {
            digits.insert(0, static_cast<std::size_t>(*spec.precision) - digits.size(), '0');
        }
        return pad_number(spec, negative, prefix, std::move(digits));
    }

    Status real(const Spec& spec, const Value& value) {
        if (!value.is_number()) {
            return value_error(fmt::format("must be real number, not {}", value.type_name()));
        }
        const double number = value.to_double();
        const auto precision = static_cast<int>(spec.precision.value_or(6));
        const double magnitude = std::fabs(number);
        std::string digits;
        switch (spec.type) {
            case 'e':
                digits = fmt::format("{:.{}e}", magnitude, precision);
                break;
            case 'E':
                digits = fmt::format("{:.{}E}", magnitude, precision);
                break;
            case 'g':
                digits = fmt::format("{:.{}g}", magnitude, precision);
                break;
            case 'G':
                digits = fmt::format("{:.{}G}", magnitude, precision);
                break;
            default:
                digits = fmt::format("{:.{}f}", magnitude, precision);
                break;
        }
        return pad_number(spec, std::signbit(number), "", std::move(digits));
    }

    Run& run_;
    const Text& format_;
    const Value& arguments_;
    const Sequence* tuple_ = nullptr;
    std::size_t at_ = 0;
    std::size_t next_ = 0;
    bool named_ = false;
    Text out_;
};

}  // namespace

Result<Text> format_percent(Run& run, const Text& format, const Value& arguments) {
    return PercentFormatter(run, format, arguments).format();
}

namespace {

/// The value that a field such as "0" or "name" stands for; `next` counts fields without a name.
Result<Value> braces_argument(std::string_view field, const CallArguments& arguments,
                              std::size_t& next) {
    const bool numbered =
        std::all_of(field.begin(), field.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (numbered) {
        std::size_t index = 0;
        if (field.empty()) {
            index = next++;
        } else {
            if (field.size() > 4) return value_error("too many decimal digits in format string");
            for (const char c : field)
                index = index * 10 + static_cast<std::size_t>(c - '0');
        }
        if (index < arguments.positional.size()) return arguments.positional[index];
        return value_error(
            fmt::format("Replacement index {} out of range for positional args tuple", index));
    }
    for (const auto& [name, value] : arguments.named) {
        if (name == field) return value;
    }
    return value_error(
        fmt::format("the field '{{{}}}' of a format string is unknown or not supported", field));
}

}  // namespace

Result<Text> format_braces(Run& run, const Text& format, const CallArguments& arguments) {
    const std::string_view text = format.view();
    Text out;
    std::size_t next = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t brace = std::min(text.find_first_of("{}", at), text.size());
        out.append(format, at, brace);
        if (brace == text.size()) break;
        if (brace + 1 < text.size() && text[brace + 1] == text[brace]) {
            out.append(format, brace, brace + 1);
            at = brace + 2;
            continue;
        }
        const std::size_t end = text[brace] == '{' ? text.find('}', brace) : std::string_view::npos;
        if (end == std::string_view::npos) {
            return value_error(
                fmt::format("Single '{}' encountered in format string", text[brace]));
        }
        POTLUCK_ASSIGN(const Value value,
                       braces_argument(text.substr(brace + 1, end - brace - 1), arguments, next));
        POTLUCK_ASSIGN(const Text shown, run.text_of(value));
        out.append(shown);
        at = end + 1;
    }
    POTLUCK_TRY(run.charge(text.size()));
    return out;
}

}  // namespace potluck::model::chat::jinja
