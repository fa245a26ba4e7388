// Primaries and what may follow them: attributes, subscripts, calls, filters, tests
// (ExpressionParser in jinja_expression_parser.h).

#include <fmt/format.h>

#include <algorithm>

#include "model/chat/jinja_builtins.h"
#include "model/chat/jinja_expression_parser.h"

namespace potluck::model::chat::jinja {

using ast::ExprPtr;

namespace {

tl::unexpected<Error> unsupported(Position position, std::string_view what) {
    return error(ErrorCode::kUnsupported,
                 fmt::format("chat template line {}, column {}: {} is not supported", position.line,
                             position.column, what));
}

}  // namespace

Result<ExprPtr> ExpressionParser::primary() {
    const Token& token = current();
    const Position position = token.position;
    switch (token.type) {
        case TokenType::kName:
            return name_or_constant();
        case TokenType::kString: {
            std::string text;
            while (current().type == TokenType::kString)
                text += take().text;
            return make(position, ast::Literal{Value::string(std::string_view(text))});
        }
        case TokenType::kInteger:
        case TokenType::kReal:
            return make(position, ast::Literal{take().number});
        case TokenType::kOperator:
            break;
        default:
            return unexpected("an expression");
    }
    if (skip_operator("(")) {
        const Nested nested(*this);
        if (!nested.ok()) return too_deep();
        POTLUCK_ASSIGN(ExprPtr value, tuple(true, {}, true));
        POTLUCK_TRY(expect_operator(")"));
        return value;
    }
    if (at_operator("[")) return list();
    if (at_operator("{")) return dict();
    return unexpected("an expression");
}

Result<ExprPtr> ExpressionParser::name_or_constant() {
    const Token token = take();
    const std::string& name = token.text;
    if (name == "true" || name == "True") {
        return make(token.position, ast::Literal{Value::boolean(true)});
    }
    if (name == "false" || name == "False") {
        return make(token.position, ast::Literal{Value::boolean(false)});
    }
    if (name == "none" || name == "None") return make(token.position, ast::Literal{Value::none()});
    for (MacroUse& use : macros_) {
        use.varargs = use.varargs || name == "varargs";
        use.kwargs = use.kwargs || name == "kwargs";
        use.caller = use.caller || name == "caller";
    }
    return make(token.position, ast::Name{name});
}

Result<ExprPtr> ExpressionParser::list() {
    const Position position = take().position;
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    ast::ListDisplay node;
    while (!at_operator("]")) {
        if (!node.items.empty()) POTLUCK_TRY(expect_operator(","));
        if (at_operator("]")) break;
        POTLUCK_ASSIGN(ExprPtr item, expression());
        node.items.push_back(std::move(item));
    }
    POTLUCK_TRY(expect_operator("]"));
    return make(position, std::move(node));
}

Result<ExprPtr> ExpressionParser::dict() {
    const Position position = take().position;
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    ast::DictDisplay node;
    while (!at_operator("}")) {
        if (!node.items.empty()) POTLUCK_TRY(expect_operator(","));
        if (at_operator("}")) break;
        POTLUCK_ASSIGN(ExprPtr key, expression());
        POTLUCK_TRY(expect_operator(":"));
        POTLUCK_ASSIGN(ExprPtr value, expression());
        node.items.emplace_back(std::move(key), std::move(value));
    }
    POTLUCK_TRY(expect_operator("}"));
    return make(position, std::move(node));
}

// --- What may follow a primary ---

Result<ExprPtr> ExpressionParser::postfix(ExprPtr value) {
    for (;;) {
        if (at_operator(".")) {
            POTLUCK_ASSIGN(value, dotted(std::move(value)));
        } else if (at_operator("[")) {
            POTLUCK_ASSIGN(value, subscript(std::move(value)));
        } else if (at_operator("(")) {
            POTLUCK_ASSIGN(value, call(std::move(value)));
        } else {
            return value;
        }
    }
}

Result<ExprPtr> ExpressionParser::filters_and_tests(ExprPtr value) {
    for (;;) {
        if (skip_operator("|")) {
            POTLUCK_ASSIGN(value, one_filter(std::move(value)));
        } else if (at_name("is")) {
            POTLUCK_ASSIGN(value, test(std::move(value)));
        } else if (at_operator("(")) {
            POTLUCK_ASSIGN(value, call(std::move(value)));
        } else {
            return value;
        }
    }
}

Result<ExprPtr> ExpressionParser::dotted(ExprPtr value) {
    take();
    const Token token = take();
    if (token.type == TokenType::kName) {
        return make(token.position, ast::Attribute{std::move(value), token.text});
    }
    if (token.type != TokenType::kInteger) {
        return syntax_error(token.position, "expected name or number");
    }
    POTLUCK_ASSIGN(ExprPtr index, make(token.position, ast::Literal{token.number}));
    return make(token.position, ast::Item{std::move(value), std::move(index)});
}

Result<ExprPtr> ExpressionParser::subscript(ExprPtr value) {
    const Position position = take().position;
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    if (at_operator(":")) return slice(position, std::move(value), nullptr);
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (!at_operator("]")) {
        POTLUCK_ASSIGN(ExprPtr item, expression());
        if (items.empty() && at_operator(":")) {
            return slice(position, std::move(value), std::move(item));
        }
        items.push_back(std::move(item));
        if (!skip_operator(",")) break;
        is_tuple = true;
    }
    if (at_operator(":")) return unsupported(current().position, "a slice inside a tuple");
    POTLUCK_TRY(expect_operator("]"));
    if (items.empty()) return syntax_error(position, "expected subscript expression");
    ExprPtr index = std::move(items.front());
    if (is_tuple && items.size() > 1) {
        POTLUCK_ASSIGN(index, make(position, ast::TupleDisplay{[&] {
                                       items.front() = std::move(index);
                                       return std::move(items);
                                   }()}));
    }
    return make(position, ast::Item{std::move(value), std::move(index)});
}

/// At the first colon.
Result<ExprPtr> ExpressionParser::slice(Position position, ExprPtr value, ExprPtr start) {
    POTLUCK_TRY(expect_operator(":"));
    ast::Slice node{std::move(value), std::move(start), nullptr, nullptr};
    if (!at_operator(":") && !at_operator("]")) {
        POTLUCK_ASSIGN(node.stop, expression());
    }
    if (skip_operator(":") && !at_operator("]")) {
        POTLUCK_ASSIGN(node.step, expression());
    }
    if (at_operator(",")) return unsupported(current().position, "a slice inside a tuple");
    POTLUCK_TRY(expect_operator("]"));
    return make(position, std::move(node));
}

Result<ast::Arguments> ExpressionParser::arguments() {
    POTLUCK_TRY(expect_operator("("));
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    ast::Arguments out;
    bool named = false;
    for (bool first = true; !at_operator(")"); first = false) {
        if (!first) {
            POTLUCK_TRY(expect_operator(","));
            if (at_operator(")")) break;
        }
        if (skip_operator("**")) {
            if (out.mapping) return fail("invalid syntax for function call expression");
            POTLUCK_ASSIGN(out.mapping, expression());
        } else if (skip_operator("*")) {
            if (out.sequence || out.mapping) {
                return fail("invalid syntax for function call expression");
            }
            POTLUCK_ASSIGN(out.sequence, expression());
        } else if (current().type == TokenType::kName && ahead().type == TokenType::kOperator &&
                   ahead().text == "=") {
            if (out.mapping) return fail("invalid syntax for function call expression");
            std::string name = take().text;
            take();
            POTLUCK_ASSIGN(ExprPtr value, expression());
            out.plain.push_back({std::move(name), std::move(value)});
            named = true;
        } else {
            if (named || out.sequence || out.mapping) {
                return fail("invalid syntax for function call expression");
            }
            POTLUCK_ASSIGN(ExprPtr value, expression());
            out.plain.push_back({{}, std::move(value)});
        }
    }
    POTLUCK_TRY(expect_operator(")"));
    return out;
}

Result<ExprPtr> ExpressionParser::call(ExprPtr callee) {
    const Position position = callee->position;
    POTLUCK_TRY(check_called(*callee));
    POTLUCK_ASSIGN(ast::Arguments args, arguments());
    return make(position, ast::Call{std::move(callee), std::move(args)});
}

Status ExpressionParser::check_called(const ast::Expr& callee) {
    if (const auto* name = std::get_if<ast::Name>(&callee.node)) {
        called_names_.emplace_back(name->name, callee.position);
    } else if (const auto* attribute = std::get_if<ast::Attribute>(&callee.node)) {
        if (!is_method_name(attribute->name)) {
            return unsupported(callee.position, fmt::format("the method '{}'", attribute->name));
        }
    }
    return {};
}

Result<std::string> ExpressionParser::dotted_name(std::string_view what) {
    POTLUCK_ASSIGN(std::string name, expect_name(what));
    while (skip_operator(".")) {
        POTLUCK_ASSIGN(const std::string part, expect_name(what));
        name += "." + part;
    }
    return name;
}

Result<ExprPtr> ExpressionParser::filter_chain(ExprPtr value) {
    POTLUCK_ASSIGN(value, one_filter(std::move(value)));
    while (skip_operator("|")) {
        POTLUCK_ASSIGN(value, one_filter(std::move(value)));
    }
    return value;
}

Result<ExprPtr> ExpressionParser::one_filter(ExprPtr value) {
    const Position position = current().position;
    POTLUCK_ASSIGN(const std::string name, dotted_name("the name of a filter"));
    const FilterEntry* entry = find_filter(name);
    if (entry == nullptr) return unsupported(position, fmt::format("the filter '{}'", name));
    ast::Arguments args;
    if (at_operator("(")) {
        POTLUCK_ASSIGN(args, arguments());
    }
    POTLUCK_TRY(check_named_argument(name, args, position));
    return make(position, ast::Filter{std::move(value), entry, std::move(args)});
}

/// map, select and their kin name another filter or test.
Status ExpressionParser::check_named_argument(std::string_view filter, const ast::Arguments& args,
                                              Position position) const {
    const bool selects_attribute = filter == "selectattr" || filter == "rejectattr";
    const bool selects = filter == "select" || filter == "reject" || selects_attribute;
    if (!selects && filter != "map") return {};
    const std::size_t index = selects_attribute ? 1 : 0;
    if (args.plain.size() <= index || !args.plain[index].name.empty()) return {};
    const auto* literal = std::get_if<ast::Literal>(&args.plain[index].value->node);
    const Text* name = literal == nullptr ? nullptr : literal->value.as_text();
    if (name == nullptr) return {};
    if (selects && find_test(name->view()) == nullptr) {
        return unsupported(position, fmt::format("the test '{}'", name->view()));
    }
    if (!selects && find_filter(name->view()) == nullptr) {
        return unsupported(position, fmt::format("the filter '{}'", name->view()));
    }
    return {};
}

Result<ExprPtr> ExpressionParser::test(ExprPtr value) {
    take();
    const bool negated = skip_name("not");
    const Position position = current().position;
    POTLUCK_ASSIGN(const std::string name, dotted_name("the name of a test"));
    const TestEntry* entry = find_test(name);
    if (entry == nullptr) return unsupported(position, fmt::format("the test '{}'", name));
    ast::Arguments args;
    const TokenType type = current().type;
    const bool value_follows =
        type == TokenType::kString || type == TokenType::kInteger || type == TokenType::kReal ||
        at_operator("[") || at_operator("{") ||
        (type == TokenType::kName && !at_name("else") && !at_name("or") && !at_name("and"));
    if (at_operator("(")) {
        POTLUCK_ASSIGN(args, arguments());
    } else if (value_follows) {
        if (at_name("is")) return fail("You cannot chain multiple tests with is");
        POTLUCK_ASSIGN(ExprPtr argument, primary());
        POTLUCK_ASSIGN(argument, postfix(std::move(argument)));
        args.plain.push_back({{}, std::move(argument)});
    }
    POTLUCK_ASSIGN(ExprPtr out,
                   make(position, ast::Test{std::move(value), entry, std::move(args)}));
    if (!negated) return out;
    return make(position, ast::Unary{ast::UnaryOp::kNot, std::move(out)});
}

}  // namespace potluck::model::chat::jinja
