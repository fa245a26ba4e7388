#include "model/chat/jinja_expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

namespace potluck::model::chat::jinja {

using ast::ExprPtr;

Result<ExprPtr> ExpressionParser::make(Position position, ast::Node node) {
    ExprPtr expr = ast::make_expr(position, std::move(node));
    if (expr->depth > kMaxExpressionDepth) return syntax_error(position, "nested too deeply");
    return expr;
}

// --- Tokens ---

bool ExpressionParser::skip_operator(std::string_view op) {
    if (!at_operator(op)) return false;
    take();
    return true;
}
bool ExpressionParser::skip_name(std::string_view name) {
    if (!at_name(name)) return false;
    take();
    return true;
}
Status ExpressionParser::expect_operator(std::string_view op) {
    if (!skip_operator(op)) return unexpected(fmt::format("'{}'", op));
    return {};
}
Status ExpressionParser::expect(TokenType type, std::string_view what) {
    if (current().type != type) return unexpected(what);
    take();
    return {};
}
Result<std::string> ExpressionParser::expect_name(std::string_view what) {
    if (current().type != TokenType::kName) return unexpected(what);
    return take().text;
}
tl::unexpected<Error> ExpressionParser::fail(std::string_view message) const {
    return syntax_error(current().position, message);
}
tl::unexpected<Error> ExpressionParser::unexpected(std::string_view wanted) const {
    return fail(fmt::format("expected {}, got {}", wanted, describe(current())));
}
std::string ExpressionParser::describe(const Token& token) {
    switch (token.type) {
        case TokenType::kData:
            return "text";
        case TokenType::kBlockBegin:
            return "'{%'";
        case TokenType::kBlockEnd:
            return "end of statement block";
        case TokenType::kPrintBegin:
            return "'{{'";
        case TokenType::kPrintEnd:
            return "end of print statement";
        case TokenType::kString:
            return "a string";
        case TokenType::kInteger:
        case TokenType::kReal:
            return "a number";
        case TokenType::kName:
        case TokenType::kOperator:
            return fmt::format("'{}'", token.text);
        case TokenType::kEnd:
            return "end of template";
    }
    return "?";
}

// --- Operators, loosest first ---

Result<ExprPtr> ExpressionParser::tuple(bool with_condition, std::string_view stop,
                                        bool allow_empty) {
    const Position position = current().position;
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    for (;;) {
        if (!items.empty()) POTLUCK_TRY(expect_operator(","));
        const bool end = current().type == TokenType::kPrintEnd ||
                         current().type == TokenType::kBlockEnd || at_operator(")") ||
                         (!stop.empty() && at_name(stop));
        if (end) break;
        POTLUCK_ASSIGN(ExprPtr item, with_condition ? expression() : logical_or());
        items.push_back(std::move(item));
        if (!at_operator(",")) break;
        is_tuple = true;
    }
    if (is_tuple || (items.empty() && allow_empty)) {
        return make(position, ast::TupleDisplay{std::move(items)});
    }
    if (items.empty()) return unexpected("an expression");
    return std::move(items.front());
}

Result<ExprPtr> ExpressionParser::conditional() {
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr value, logical_or());
    while (skip_name("if")) {
        POTLUCK_ASSIGN(ExprPtr condition, logical_or());
        ExprPtr otherwise;
        if (skip_name("else")) {
            POTLUCK_ASSIGN(otherwise, conditional());
        }
        POTLUCK_ASSIGN(value,
                       make(position, ast::Conditional{std::move(condition), std::move(value),
                                                       std::move(otherwise)}));
    }
    return value;
}

Result<ExprPtr> ExpressionParser::logical_or() {
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr first, logical_and());
    if (!at_name("or")) return first;
    ast::Logic node{.is_and = false, .values = {}};
    node.values.push_back(std::move(first));
    while (skip_name("or")) {
        POTLUCK_ASSIGN(ExprPtr next, logical_and());
        node.values.push_back(std::move(next));
    }
    return make(position, std::move(node));
}

Result<ExprPtr> ExpressionParser::logical_and() {
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr first, logical_not());
    if (!at_name("and")) return first;
    ast::Logic node{.is_and = true, .values = {}};
    node.values.push_back(std::move(first));
    while (skip_name("and")) {
        POTLUCK_ASSIGN(ExprPtr next, logical_not());
        node.values.push_back(std::move(next));
    }
    return make(position, std::move(node));
}

Result<ExprPtr> ExpressionParser::logical_not() {
    const Position position = current().position;
    if (!at_name("not")) return compare();
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    take();
    POTLUCK_ASSIGN(ExprPtr value, logical_not());
    return make(position, ast::Unary{ast::UnaryOp::kNot, std::move(value)});
}

Result<ExprPtr> ExpressionParser::compare() {
    static constexpr auto kOperators =
        std::to_array<std::pair<std::string_view, ast::CompareOp>>({{"==", ast::CompareOp::kEq},
                                                                    {"!=", ast::CompareOp::kNe},
                                                                    {"<", ast::CompareOp::kLt},
                                                                    {"<=", ast::CompareOp::kLe},
                                                                    {">", ast::CompareOp::kGt},
                                                                    {">=", ast::CompareOp::kGe}});
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr first, sum());
    ast::Compare node{.first = {}, .rest = {}};
    for (;;) {
        std::optional<ast::CompareOp> op;
        for (const auto& [text, compare_op] : kOperators) {
            if (skip_operator(text)) {
                op = compare_op;
                break;
            }
        }
        if (!op && skip_name("in")) op = ast::CompareOp::kIn;
        if (!op && at_name("not") && ahead().type == TokenType::kName && ahead().text == "in") {
            take();
            take();
            op = ast::CompareOp::kNotIn;
        }
        if (!op) break;
        POTLUCK_ASSIGN(ExprPtr right, sum());
        node.rest.emplace_back(*op, std::move(right));
    }
    if (node.rest.empty()) return first;
    node.first = std::move(first);
    return make(position, std::move(node));
}

Result<ExprPtr> ExpressionParser::sum() {
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr left, concat());
    for (;;) {
        ast::BinaryOp op;
        if (skip_operator("+")) {
            op = ast::BinaryOp::kAdd;
        } else if (skip_operator("-")) {
            op = ast::BinaryOp::kSubtract;
        } else {
            return left;
        }
        POTLUCK_ASSIGN(ExprPtr right, concat());
        POTLUCK_ASSIGN(left, make(position, ast::Binary{op, std::move(left), std::move(right)}));
    }
}

Result<ExprPtr> ExpressionParser::concat() {
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr first, product());
    if (!at_operator("~")) return first;
    ast::Concat node;
    node.values.push_back(std::move(first));
    while (skip_operator("~")) {
        POTLUCK_ASSIGN(ExprPtr next, product());
        node.values.push_back(std::move(next));
    }
    return make(position, std::move(node));
}

Result<ExprPtr> ExpressionParser::product() {
    static constexpr auto kOperators = std::to_array<std::pair<std::string_view, ast::BinaryOp>>(
        {{"*", ast::BinaryOp::kMultiply},
         {"/", ast::BinaryOp::kDivide},
         {"//", ast::BinaryOp::kFloorDivide},
         {"%", ast::BinaryOp::kModulo}});
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr left, power());
    for (;;) {
        const auto* op = std::find_if(kOperators.begin(), kOperators.end(),
                                      [this](const auto& o) { return at_operator(o.first); });
        if (op == kOperators.end()) return left;
        take();
        POTLUCK_ASSIGN(ExprPtr right, power());
        POTLUCK_ASSIGN(left,
                       make(position, ast::Binary{op->second, std::move(left), std::move(right)}));
    }
}

Result<ExprPtr> ExpressionParser::power() {
    const Position position = current().position;
    POTLUCK_ASSIGN(ExprPtr left, unary());
    while (skip_operator("**")) {
        POTLUCK_ASSIGN(ExprPtr right, unary());
        POTLUCK_ASSIGN(left, make(position, ast::Binary{ast::BinaryOp::kPower, std::move(left),
                                                        std::move(right)}));
    }
    return left;
}

Result<ExprPtr> ExpressionParser::unary(bool with_filters) {
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    const Position position = current().position;
    ExprPtr value;
    if (at_operator("-") || at_operator("+")) {
        const auto op = take().text == "-" ? ast::UnaryOp::kMinus : ast::UnaryOp::kPlus;
        POTLUCK_ASSIGN(value, unary(false));
        POTLUCK_ASSIGN(value, make(position, ast::Unary{op, std::move(value)}));
    } else {
        POTLUCK_ASSIGN(value, primary());
    }
    POTLUCK_ASSIGN(value, postfix(std::move(value)));
    return with_filters ? filters_and_tests(std::move(value)) : std::move(value);
}

}  // namespace potluck::model::chat::jinja
