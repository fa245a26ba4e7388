// What may follow `is` (jinja_tables.h).

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

using Predicate = bool (*)(const Value&);

template <Predicate kPredicate>
Result<bool> plain(Run&, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("test", arguments, {}, 0));
    return kPredicate(value);
}

bool defined(const Value& v) {
    return !v.is_undefined();
}
bool undefined(const Value& v) {
    return v.is_undefined();
}
bool none(const Value& v) {
    return v.is_none();
}
bool boolean(const Value& v) {
    return v.is_bool();
}
bool is_true(const Value& v) {
    return v.is_bool() && *v.as_bool();
}
bool is_false(const Value& v) {
    return v.is_bool() && !*v.as_bool();
}
bool integer(const Value& v) {
    return v.is_integer();
}
bool real(const Value& v) {
    return v.is_real();
}
bool number(const Value& v) {
    return v.is_number();
}
bool string(const Value& v) {
    return v.is_string();
}
bool mapping(const Value& v) {
    return v.as_dict() != nullptr;
}
bool escaped(const Value&) {
    return false;
}

bool iterable(const Value& v) {
    return v.is_undefined() || v.is_string() || v.as_dict() != nullptr ||
           v.as_sequence() != nullptr || v.as<Iterator>() != nullptr ||
           v.as<LoopObject>() != nullptr;
}

bool sequence(const Value& v) {
    if (const Sequence* s = v.as_sequence()) {
        return s->kind != SequenceKind::kDictKeys && s->kind != SequenceKind::kDictValues &&
               s->kind != SequenceKind::kDictItems;
    }
    return v.is_undefined() || v.is_string() || v.as_dict() != nullptr;
}

bool callable(const Value& v) {
    return v.is_undefined() || v.as<FunctionObject>() != nullptr ||
           v.as<MethodObject>() != nullptr || v.as<MacroObject>() != nullptr ||
           v.as<LoopObject>() != nullptr || v.as<Joiner>() != nullptr;
}

bool known_filter(const Value& v) {
    return v.is_string() && find_filter(v.as_text()->view()) != nullptr;
}
bool known_test(const Value& v) {
    return v.is_string() && find_test(v.as_text()->view()) != nullptr;
}

/// Letters exist and all have the case, as str.islower and str.isupper.
template <bool (*kWanted)(std::uint32_t), bool (*kOther)(std::uint32_t)>
Result<bool> has_case(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("test", arguments, {}, 0));
    POTLUCK_ASSIGN(const Text text, run.text_of(value));
    bool any = false;
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = code_point_at(text.view(), at);
        if (kOther(c.value)) return false;
        any = any || kWanted(c.value);
        at += c.size;
    }
    return any;
}

Result<bool> divisible(Run& run, const Value& value, const Value& by, std::int64_t rest) {
    if (value.is_string()) return value_error("not a number");
    POTLUCK_ASSIGN(const Value remainder, run.binary(ast::BinaryOp::kModulo, value, by));
    return run.equal(remainder, Value::integer(rest));
}
Result<bool> even(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("even", arguments, {}, 0));
    return divisible(run, value, Value::integer(2), 0);
}
Result<bool> odd(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("odd", arguments, {}, 0));
    return divisible(run, value, Value::integer(2), 1);
}
Result<bool> divisible_by(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("divisibleby", arguments, {"num"}, 1));
    return divisible(run, value, *args[0], 0);
}

template <ast::CompareOp kOp>
Result<bool> compared(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("comparison", arguments, {""}, 1));
    return run.compare(kOp, value, *args[0]);
}

Result<bool> contained(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("in", arguments, {"seq"}, 1));
    return run.contains(*args[0], value);
}

/// Python's `is`. Equal strings and numbers count as the same object, which CPython leaves open.
Result<bool> same_as(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("sameas", arguments, {"other"}, 1));
    const Value& other = *args[0];
    if (value.identity() != nullptr && !value.is_string()) {
        return value.identity() == other.identity();
    }
    if (value.type_name() != other.type_name()) return false;
    return run.equal(value, other);
}

}  // namespace

std::span<const TestEntry> all_tests() {
    static constexpr auto kEq = compared<ast::CompareOp::kEq>;
    static constexpr auto kNe = compared<ast::CompareOp::kNe>;
    static constexpr auto kLt = compared<ast::CompareOp::kLt>;
    static constexpr auto kLe = compared<ast::CompareOp::kLe>;
    static constexpr auto kGt = compared<ast::CompareOp::kGt>;
    static constexpr auto kGe = compared<ast::CompareOp::kGe>;
    static constexpr auto kTable = std::to_array<TestEntry>({
        {"!=", kNe},
        {"<", kLt},
        {"<=", kLe},
        {"==", kEq},
        {">", kGt},
        {">=", kGe},
        {"boolean", plain<boolean>},
        {"callable", plain<callable>},
        {"defined", plain<defined>},
        {"divisibleby", divisible_by},
        {"eq", kEq},
        {"equalto", kEq},
        {"escaped", plain<escaped>},
        {"even", even},
        {"false", plain<is_false>},
        {"filter", plain<known_filter>},
        {"float", plain<real>},
        {"ge", kGe},
        {"greaterthan", kGt},
        {"gt", kGt},
        {"in", contained},
        {"integer", plain<integer>},
        {"iterable", plain<iterable>},
        {"le", kLe},
        {"lessthan", kLt},
        {"lower", has_case<is_lower, is_upper>},
        {"lt", kLt},
        {"mapping", plain<mapping>},
        {"ne", kNe},
        {"none", plain<none>},
        {"number", plain<number>},
        {"odd", odd},
        {"sameas", same_as},
        {"sequence", plain<sequence>},
        {"string", plain<string>},
        {"test", plain<known_test>},
        {"true", plain<is_true>},
        {"undefined", plain<undefined>},
        {"upper", has_case<is_upper, is_lower>},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
