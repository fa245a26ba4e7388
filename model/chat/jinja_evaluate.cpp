// Expressions of a running template (Run in jinja_run.h).

#include <fmt/format.h>

#include "model/chat/jinja_run.h"

namespace potluck::model::chat::jinja {

Result<Value> Run::evaluate(const ast::Expr& expr) {
    const Level level(*this);
    POTLUCK_TRY(level.check());
    POTLUCK_TRY(charge(kNodeWork));
    Result<Value> value = std::visit([this](const auto& node) { return eval(node); }, expr.node);
    if (!value && !failed_at_) failed_at_ = expr.position;
    return value;
}

Result<std::vector<Value>> Run::evaluate_all(const std::vector<ast::ExprPtr>& items) {
    std::vector<Value> values;
    values.reserve(items.size());
    for (const ast::ExprPtr& item : items) {
        POTLUCK_ASSIGN(Value value, evaluate(*item));
        values.push_back(std::move(value));
    }
    return values;
}

Result<Value> Run::eval(const ast::Literal& node) {
    return node.value;
}

Result<Value> Run::eval(const ast::Name& node) {
    for (const Frame* frame = frame_.get(); frame != nullptr; frame = frame->parent.get()) {
        POTLUCK_TRY(charge(frame->names.size()));
        if (const Value* value = frame->find_here(node.name)) return *value;
    }
    POTLUCK_TRY(charge(variables_.entries.size()));
    if (const Value* value = variables_.find(std::string_view(node.name))) return *value;
    if (const FunctionEntry* entry = find_function(node.name)) {
        return Value::object(std::make_shared<FunctionObject>(entry));
    }
    return Value::undefined(fmt::format("'{}' is undefined", node.name));
}

Result<Value> Run::eval(const ast::Attribute& node) {
    POTLUCK_ASSIGN(const Value object, evaluate(*node.object));
    return attribute(object, node.name);
}

Result<Value> Run::eval(const ast::Item& node) {
    POTLUCK_ASSIGN(const Value object, evaluate(*node.object));
    POTLUCK_ASSIGN(const Value index, evaluate(*node.index));
    return item(object, index);
}

Result<Value> Run::eval(const ast::Slice& node) {
    POTLUCK_ASSIGN(const Value object, evaluate(*node.object));
    Value start = Value::none();
    Value stop = Value::none();
    Value step = Value::none();
    if (node.start) {
        POTLUCK_ASSIGN(start, evaluate(*node.start));
    }
    if (node.stop) {
        POTLUCK_ASSIGN(stop, evaluate(*node.stop));
    }
    if (node.step) {
        POTLUCK_ASSIGN(step, evaluate(*node.step));
    }
    return slice(object, start, stop, step);
}

Result<CallArguments> Run::evaluate(const ast::Arguments& arguments) {
    CallArguments out;
    for (const ast::Argument& argument : arguments.plain) {
        POTLUCK_ASSIGN(Value value, evaluate(*argument.value));
        if (argument.name.empty()) {
            out.positional.push_back(std::move(value));
        } else {
            out.named.emplace_back(argument.name, std::move(value));
        }
    }
    if (arguments.sequence) {
        POTLUCK_ASSIGN(const Value extra, evaluate(*arguments.sequence));
        POTLUCK_ASSIGN(const std::vector<Value> items, items_of(extra));
        out.positional.insert(out.positional.end(), items.begin(), items.end());
    }
    if (arguments.mapping) {
        POTLUCK_ASSIGN(const Value extra, evaluate(*arguments.mapping));
        if (extra.as_dict() == nullptr) return value_error("argument after ** must be a mapping");
        POTLUCK_TRY(charge(extra.as_dict()->entries.size() * kValueWork));
        for (const auto& [key, value] : extra.as_dict()->entries) {
            if (!key.is_string()) return value_error("keywords must be strings");
            out.named.emplace_back(key.as_text()->bytes(), value);
        }
    }
    return out;
}

Result<Value> Run::eval(const ast::Call& node) {
    POTLUCK_ASSIGN(const Value callee, evaluate(*node.callee));
    POTLUCK_ASSIGN(const CallArguments arguments, evaluate(node.arguments));
    return call(callee, arguments);
}

Result<Value> Run::eval(const ast::Filter& node) {
    Value value;
    if (node.value) {
        POTLUCK_ASSIGN(value, evaluate(*node.value));
    } else if (filter_body_ != nullptr) {
        value = *filter_body_;
    }
    POTLUCK_ASSIGN(const CallArguments arguments, evaluate(node.arguments));
    POTLUCK_ASSIGN(Value out, node.filter->apply(*this, value, arguments));
    return bounded(std::move(out));
}

Result<Value> Run::eval(const ast::Test& node) {
    POTLUCK_ASSIGN(const Value value, evaluate(*node.value));
    POTLUCK_ASSIGN(const CallArguments arguments, evaluate(node.arguments));
    POTLUCK_ASSIGN(const bool passed, node.test->apply(*this, value, arguments));
    return Value::boolean(passed);
}

Result<Value> Run::eval(const ast::Unary& node) {
    POTLUCK_ASSIGN(const Value value, evaluate(*node.value));
    if (node.op == ast::UnaryOp::kNot) return Value::boolean(!value.truthy());
    if (value.is_undefined()) return value_error(value.undefined_hint());
    const bool minus = node.op == ast::UnaryOp::kMinus;
    if (const double* d = value.as_real()) return Value::real(minus ? -*d : *d);
    if (const auto i = value.index()) return Value::integer(minus ? -*i : *i);
    return value_error(
        fmt::format("bad operand type for unary {}: '{}'", minus ? '-' : '+', value.type_name()));
}

Result<Value> Run::eval(const ast::Binary& node) {
    POTLUCK_ASSIGN(const Value left, evaluate(*node.left));
    POTLUCK_ASSIGN(const Value right, evaluate(*node.right));
    return binary(node.op, left, right);
}

Result<Value> Run::eval(const ast::Logic& node) {
    Value value;
    for (const ast::ExprPtr& operand : node.values) {
        POTLUCK_ASSIGN(value, evaluate(*operand));
        if (value.truthy() != node.is_and) break;
    }
    return value;
}

Result<Value> Run::eval(const ast::Concat& node) {
    Text out;
    for (const ast::ExprPtr& operand : node.values) {
        POTLUCK_ASSIGN(const Value value, evaluate(*operand));
        POTLUCK_ASSIGN(const Text text, text_of(value));
        out.append(text);
    }
    return Value::string(std::move(out));
}

Status Run::settle(const Effort& after) {
    const std::uint64_t spent = effort().left - after.left;
    if (after.left == 0) return charge(options_.limits.work + 1);
    return charge(spent);
}

Result<bool> Run::equal(const Value& a, const Value& b) {
    Effort budget = effort();
    const bool same = equals(a, b, budget);
    POTLUCK_TRY(settle(budget));
    return same;
}

Result<bool> Run::before(const Value& a, const Value& b, std::string_view op) {
    Effort budget = effort();
    const Result<bool> is_less = less(a, b, budget, op);
    POTLUCK_TRY(settle(budget));
    return is_less;
}

Result<const Value*> Run::find(const Dict& dict, const Value& key) {
    POTLUCK_TRY(charge_walk(key));
    POTLUCK_TRY(check_hashable(key));
    Effort budget = effort();
    const Value* value = dict.find(key, budget);
    POTLUCK_TRY(settle(budget));
    return value;
}

Status Run::set(Dict& dict, Value key, Value value) {
    POTLUCK_TRY(charge_walk(key));
    POTLUCK_TRY(check_hashable(key));
    Effort budget = effort();
    dict.set(std::move(key), std::move(value), budget);
    return settle(budget);
}

Result<bool> Run::compare(ast::CompareOp op, const Value& left, const Value& right) {
    switch (op) {
        case ast::CompareOp::kEq:
            return equal(left, right);
        case ast::CompareOp::kNe: {
            POTLUCK_ASSIGN(const bool same, equal(left, right));
            return !same;
        }
        case ast::CompareOp::kLt:
            return before(left, right, "<");
        case ast::CompareOp::kGt:
            return before(right, left, ">");
        case ast::CompareOp::kIn:
            return contains(right, left);
        case ast::CompareOp::kNotIn: {
            POTLUCK_ASSIGN(const bool inside, contains(right, left));
            return !inside;
        }
        case ast::CompareOp::kLe:
        case ast::CompareOp::kGe:
            break;
    }
    // a <= b is not "not b < a": nothing orders NaN.
    const bool less_equal = op == ast::CompareOp::kLe;
    const Value& low = less_equal ? left : right;
    const Value& high = less_equal ? right : left;
    POTLUCK_ASSIGN(const bool smaller, before(low, high, less_equal ? "<=" : ">="));
    return smaller ? true : equal(low, high);
}

Result<Value> Run::eval(const ast::Compare& node) {
    POTLUCK_ASSIGN(Value left, evaluate(*node.first));
    for (const auto& [op, operand] : node.rest) {
        POTLUCK_ASSIGN(Value right, evaluate(*operand));
        POTLUCK_ASSIGN(const bool holds, compare(op, left, right));
        if (!holds) return Value::boolean(false);
        left = std::move(right);
    }
    return Value::boolean(true);
}

Result<Value> Run::eval(const ast::Conditional& node) {
    POTLUCK_ASSIGN(const Value condition, evaluate(*node.condition));
    if (condition.truthy()) return evaluate(*node.then);
    if (node.otherwise) return evaluate(*node.otherwise);
    return Value::undefined(
        "the inline if-expression evaluated to false and no else section was defined.");
}

Result<Value> Run::eval(const ast::ListDisplay& node) {
    POTLUCK_ASSIGN(std::vector<Value> items, evaluate_all(node.items));
    return bounded(Value::list(std::move(items)));
}

Result<Value> Run::eval(const ast::TupleDisplay& node) {
    POTLUCK_ASSIGN(std::vector<Value> items, evaluate_all(node.items));
    return bounded(Value::tuple(std::move(items)));
}

Result<Value> Run::eval(const ast::DictDisplay& node) {
    Dict dict;
    for (const auto& [key_expr, value_expr] : node.items) {
        POTLUCK_ASSIGN(Value key, evaluate(*key_expr));
        POTLUCK_ASSIGN(Value value, evaluate(*value_expr));
        POTLUCK_TRY(set(dict, std::move(key), std::move(value)));
    }
    return bounded(Value::dict(std::move(dict)));
}

}  // namespace potluck::model::chat::jinja
