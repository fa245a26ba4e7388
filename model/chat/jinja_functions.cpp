// Global functions (jinja_tables.h).

#include <fmt/format.h>

#include <array>

#include "model/chat/jinja_format.h"
#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

/// The sandbox's own bound.
constexpr Integer kMaxRange = 100'000;

Result<Value> range(Run& run, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("range", arguments, {"", "", ""}, 1));
    Integer start = 0;
    Integer stop = 0;
    Integer step = 1;
    if (args[1] == nullptr) {
        POTLUCK_ASSIGN(stop, need_int64(*args[0]));
    } else {
        POTLUCK_ASSIGN(start, need_int64(*args[0]));
        POTLUCK_ASSIGN(stop, need_int64(*args[1]));
    }
    if (args[2] != nullptr) {
        POTLUCK_ASSIGN(step, need_int64(*args[2]));
    }
    if (step == 0) return value_error("range() arg 3 must not be zero");
    const Integer span = step > 0 ? stop - start : start - stop;
    const Integer stride = step > 0 ? step : -step;
    const Integer count = span <= 0 ? 0 : (span + stride - 1) / stride;
    if (count > kMaxRange) {
        return value_error(
            fmt::format("Range too big. The sandbox blocks ranges larger than {}.", kMaxRange));
    }
    POTLUCK_TRY(run.charge(static_cast<std::uint64_t>(count) * kValueWork));
    Sequence out{.kind = SequenceKind::kRange, .items = {}, .label = {}};
    for (Integer i = 0; i < count; ++i)
        out.items.push_back(Value::integer(start + i * step));
    out.label =
        fmt::format("range({}, {}", start, stop) + (step == 1 ? ")" : fmt::format(", {})", step));
    return Value::sequence(std::move(out));
}

Result<Dict> make_dict(Run& run, const CallArguments& arguments) {
    Dict dict;
    if (arguments.positional.size() > 1) return value_error("dict expected at most 1 argument");
    if (!arguments.positional.empty()) {
        const Value& from = arguments.positional[0];
        if (from.as_dict() != nullptr) {
            POTLUCK_TRY(run.charge(from.as_dict()->entries.size() * kValueWork));
            dict.entries = from.as_dict()->entries;
        } else {
            POTLUCK_ASSIGN(const std::vector<Value> pairs, run.items_of(from));
            for (const Value& pair : pairs) {
                POTLUCK_ASSIGN(const std::vector<Value> two, run.items_of(pair));
                if (two.size() != 2) {
                    return value_error("dictionary update sequence elements must have length 2");
                }
                POTLUCK_TRY(run.set(dict, two[0], two[1]));
            }
        }
    }
    for (const auto& [name, value] : arguments.named) {
        POTLUCK_TRY(run.charge(dict.entries.size()));
        dict.set(name, value);
    }
    return dict;
}

Result<Value> dict(Run& run, const CallArguments& arguments) {
    POTLUCK_ASSIGN(Dict made, make_dict(run, arguments));
    return Value::dict(std::move(made));
}

Result<Value> make_namespace(Run& run, const CallArguments& arguments) {
    POTLUCK_ASSIGN(Dict made, make_dict(run, arguments));
    return run.make_namespace(std::move(made));
}

Result<Value> raise_exception(Run& run, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("raise_exception", arguments, {"message"}, 1));
    POTLUCK_ASSIGN(const Text message, run.text_of(*args[0]));
    return run.raise(message.bytes());
}

Result<Value> strftime_now(Run& run, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("strftime_now", arguments, {"format"}, 1));
    POTLUCK_ASSIGN(const Text* format, need_text("strftime_now", *args[0]));
    const RenderOptions& options = run.options();
    if (!options.now) return value_error("strftime_now: the time is not known here");
    POTLUCK_TRY(run.charge(format->size() * 32));
    POTLUCK_ASSIGN(std::string text, format_time(format->view(), *options.now + options.utc_offset,
                                                 options.utc_offset));
    return Value::string(Text(std::move(text), format->any_input()));
}

Result<Value> cycler(Run&, const CallArguments& arguments) {
    if (!arguments.named.empty()) return value_error("cycler() takes no keyword arguments");
    if (arguments.positional.empty()) return value_error("at least one item has to be provided");
    auto object = std::make_shared<Cycler>();
    object->items = arguments.positional;
    object->extent = extent_of(object->items);
    return Value::object(std::move(object));
}

Result<Value> joiner(Run&, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("joiner", arguments, {"sep"}, 0));
    auto object = std::make_shared<Joiner>();
    object->separator = args[0] != nullptr ? *args[0] : Value::string(", ");
    object->extent = extent_of({object->separator});
    return Value::object(std::move(object));
}

}  // namespace

std::span<const FunctionEntry> all_functions() {
    static constexpr auto kTable = std::to_array<FunctionEntry>({
        {"cycler", cycler},
        {"dict", dict},
        {"joiner", joiner},
        {"namespace", make_namespace},
        {"raise_exception", raise_exception},
        {"range", range},
        {"strftime_now", strftime_now},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
