// + - * / // % ** and `in` (Run in jinja_run.h).

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "model/chat/jinja_format.h"
#include "model/chat/jinja_run.h"

namespace potluck::model::chat::jinja {

using ast::BinaryOp;

namespace {

std::string_view symbol(BinaryOp op) {
    switch (op) {
        case BinaryOp::kAdd:
            return "+";
        case BinaryOp::kSubtract:
            return "-";
        case BinaryOp::kMultiply:
            return "*";
        case BinaryOp::kDivide:
            return "/";
        case BinaryOp::kFloorDivide:
            return "//";
        case BinaryOp::kModulo:
            return "%";
        case BinaryOp::kPower:
            return "** or pow()";
    }
    return "?";
}

tl::unexpected<Error> overflow() {
    return value_error("an integer of the template leaves 128 bits");
}

Result<Value> power(Integer base, Integer exponent) {
    if (exponent < 0) {
        if (base == 0) return value_error("0.0 cannot be raised to a negative power");
        return Value::real(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
    Integer result = 1;
    if (base == 0 || base == 1) return Value::integer(exponent == 0 ? 1 : base);
    if (base == -1) return Value::integer(exponent % 2 == 0 ? 1 : -1);
    for (; exponent > 0; --exponent) {  // ends by overflow after at most 127 rounds
        if (__builtin_mul_overflow(result, base, &result)) return overflow();
    }
    return Value::integer(result);
}

Result<Value> integer_arithmetic(BinaryOp op, Integer a, Integer b) {
    Integer result = 0;
    const bool by_zero = b == 0 && (op == BinaryOp::kDivide || op == BinaryOp::kFloorDivide ||
                                    op == BinaryOp::kModulo);
    if (by_zero) return value_error("division by zero");
    // The one quotient that does not fit: the smallest integer by -1.
    if (op == BinaryOp::kFloorDivide && b == -1) {
        if (__builtin_sub_overflow(Integer{0}, a, &result)) return overflow();
        return Value::integer(result);
    }
    if (op == BinaryOp::kModulo && b == -1) return Value::integer(0);
    const auto rounds_down = [&] { return a % b != 0 && ((a % b < 0) != (b < 0)); };
    switch (op) {
        case BinaryOp::kAdd:
            if (__builtin_add_overflow(a, b, &result)) return overflow();
            return Value::integer(result);
        case BinaryOp::kSubtract:
            if (__builtin_sub_overflow(a, b, &result)) return overflow();
            return Value::integer(result);
        case BinaryOp::kMultiply:
            if (__builtin_mul_overflow(a, b, &result)) return overflow();
            return Value::integer(result);
        case BinaryOp::kDivide:
            return Value::real(static_cast<double>(a) / static_cast<double>(b));
        case BinaryOp::kFloorDivide:
            return Value::integer(a / b - (rounds_down() ? 1 : 0));
        case BinaryOp::kModulo:
            return Value::integer(a % b + (rounds_down() ? b : 0));
        case BinaryOp::kPower:
            return power(a, b);
    }
    return overflow();
}

/// Python's float remainder takes the sign of the divisor.
double floor_mod(double a, double b) {
    const double rest = std::fmod(a, b);
    if (rest == 0.0) return std::copysign(0.0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

Result<Value> real_arithmetic(BinaryOp op, double a, double b) {
    const bool by_zero = b == 0.0 && (op == BinaryOp::kDivide || op == BinaryOp::kFloorDivide ||
                                      op == BinaryOp::kModulo);
    if (by_zero) return value_error("float division by zero");
    switch (op) {
        case BinaryOp::kAdd:
            return Value::real(a + b);
        case BinaryOp::kSubtract:
            return Value::real(a - b);
        case BinaryOp::kMultiply:
            return Value::real(a * b);
        case BinaryOp::kDivide:
            return Value::real(a / b);
        case BinaryOp::kFloorDivide: {
            const double quotient = (a - floor_mod(a, b)) / b;
            return Value::real(quotient == 0.0 ? std::copysign(0.0, a / b) : std::round(quotient));
        }
        case BinaryOp::kModulo:
            return Value::real(floor_mod(a, b));
        case BinaryOp::kPower:
            break;
    }
    if (a == 0.0 && b < 0) return value_error("0.0 cannot be raised to a negative power");
    const double result = std::pow(a, b);
    if (std::isnan(result) && !std::isnan(a) && !std::isnan(b)) {
        return value_error("complex numbers are not supported");
    }
    if (std::isinf(result) && !std::isinf(a) && !std::isinf(b)) {
        return value_error("Numerical result out of range");
    }
    return Value::real(result);
}

}  // namespace

Result<Value> Run::add(const Value& left, const Value& right) {
    if (left.is_string() && right.is_string()) {
        POTLUCK_TRY(charge(left.as_text()->size() + right.as_text()->size()));
        Text out = *left.as_text();
        out.append(*right.as_text());
        return Value::string(std::move(out));
    }
    const Sequence* a = left.as_sequence();
    const Sequence* b = right.as_sequence();
    const bool lists = a != nullptr && b != nullptr && a->kind == b->kind &&
                       (a->kind == SequenceKind::kList || a->kind == SequenceKind::kTuple);
    if (lists) {
        POTLUCK_TRY(charge((a->items.size() + b->items.size()) * kValueWork));
        std::vector<Value> items = a->items;
        items.insert(items.end(), b->items.begin(), b->items.end());
        return a->kind == SequenceKind::kList ? Value::list(std::move(items))
                                              : Value::tuple(std::move(items));
    }
    if (left.is_string()) {
        return value_error(
            fmt::format("can only concatenate str (not \"{}\") to str", right.type_name()));
    }
    return value_error(fmt::format("unsupported operand type(s) for +: '{}' and '{}'",
                                   left.type_name(), right.type_name()));
}

Result<Value> Run::repeated(const Value& value, Integer times) {
    const Integer most = std::numeric_limits<std::int32_t>::max();
    const auto count = static_cast<std::size_t>(std::clamp(times, Integer{0}, most));
    if (const Text* text = value.as_text()) {
        POTLUCK_TRY(charge(text->size() * count + text->input().size() * count));
        return Value::string(repeat(*text, count));
    }
    const Sequence& sequence = *value.as_sequence();
    POTLUCK_TRY(charge(sequence.items.size() * count * kValueWork));
    std::vector<Value> items;
    items.reserve(sequence.items.size() * count);
    for (std::size_t i = 0; i < count && !sequence.items.empty(); ++i) {
        items.insert(items.end(), sequence.items.begin(), sequence.items.end());
    }
    return sequence.kind == SequenceKind::kList ? Value::list(std::move(items))
                                                : Value::tuple(std::move(items));
}

Result<Value> Run::multiply(const Value& left, const Value& right) {
    const auto repeatable = [](const Value& value) {
        const Sequence* sequence = value.as_sequence();
        return value.is_string() ||
               (sequence != nullptr &&
                (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple));
    };
    if (repeatable(left) && right.index()) return repeated(left, *right.index());
    if (repeatable(right) && left.index()) return repeated(right, *left.index());
    return value_error(fmt::format("unsupported operand type(s) for *: '{}' and '{}'",
                                   left.type_name(), right.type_name()));
}

Result<Value> Run::binary(BinaryOp op, const Value& left, const Value& right) {
    if (left.is_undefined()) return value_error(left.undefined_hint());
    if (op == BinaryOp::kModulo && left.is_string()) {
        POTLUCK_TRY(charge_walk(left));
        POTLUCK_TRY(charge_walk(right));
        POTLUCK_ASSIGN(Text text, format_percent(*this, *left.as_text(), right));
        return Value::string(std::move(text));
    }
    if (right.is_undefined()) return value_error(right.undefined_hint());
    if (left.is_number() && right.is_number()) {
        if (left.is_real() || right.is_real()) {
            return real_arithmetic(op, left.to_double(), right.to_double());
        }
        return integer_arithmetic(op, *left.index(), *right.index());
    }
    if (op == BinaryOp::kAdd) return add(left, right);
    if (op == BinaryOp::kMultiply) return multiply(left, right);
    return value_error(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", symbol(op),
                                   left.type_name(), right.type_name()));
}

Result<bool> Run::contains(const Value& container, const Value& value) {
    if (const Text* text = container.as_text()) {
        if (!value.is_string()) {
            return value_error(fmt::format("'in <string>' requires string as left operand, not {}",
                                           value.type_name()));
        }
        POTLUCK_TRY(charge(text->size()));
        return text->view().find(value.as_text()->view()) != std::string_view::npos;
    }
    if (const Dict* dict = container.as_dict()) {
        POTLUCK_ASSIGN(const Value* found, find(*dict, value));
        return found != nullptr;
    }
    POTLUCK_ASSIGN(const std::vector<Value> items, items_of(container));
    Effort budget = effort();
    const bool found = std::any_of(items.begin(), items.end(),
                                   [&](const Value& item) { return equals(item, value, budget); });
    POTLUCK_TRY(settle(budget));
    return found;
}

}  // namespace potluck::model::chat::jinja
