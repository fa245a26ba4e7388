#include "model/chat/jinja_ast.h"

#include <algorithm>

namespace potluck::model::chat::jinja::ast {

namespace {

std::size_t deepest(const ExprPtr& e) {
    return e ? e->depth : 0;
}
std::size_t deepest(const std::vector<ExprPtr>& items) {
    std::size_t depth = 0;
    for (const ExprPtr& item : items)
        depth = std::max(depth, deepest(item));
    return depth;
}
std::size_t deepest(const Arguments& arguments) {
    std::size_t depth = std::max(deepest(arguments.sequence), deepest(arguments.mapping));
    for (const Argument& argument : arguments.plain) {
        depth = std::max(depth, deepest(argument.value));
    }
    return depth;
}
std::size_t children(const Literal&) {
    return 0;
}
std::size_t children(const Name&) {
    return 0;
}
std::size_t children(const Attribute& n) {
    return deepest(n.object);
}
std::size_t children(const Item& n) {
    return std::max(deepest(n.object), deepest(n.index));
}
std::size_t children(const Slice& n) {
    return std::max({deepest(n.object), deepest(n.start), deepest(n.stop), deepest(n.step)});
}
std::size_t children(const Call& n) {
    return std::max(deepest(n.callee), deepest(n.arguments));
}
std::size_t children(const Filter& n) {
    return std::max(deepest(n.value), deepest(n.arguments));
}
std::size_t children(const Test& n) {
    return std::max(deepest(n.value), deepest(n.arguments));
}
std::size_t children(const Unary& n) {
    return deepest(n.value);
}
std::size_t children(const Binary& n) {
    return std::max(deepest(n.left), deepest(n.right));
}
std::size_t children(const Logic& n) {
    return deepest(n.values);
}
std::size_t children(const Concat& n) {
    return deepest(n.values);
}
std::size_t children(const Compare& n) {
    std::size_t depth = deepest(n.first);
    for (const auto& [op, value] : n.rest)
        depth = std::max(depth, deepest(value));
    return depth;
}
std::size_t children(const Conditional& n) {
    return std::max({deepest(n.condition), deepest(n.then), deepest(n.otherwise)});
}
std::size_t children(const ListDisplay& n) {
    return deepest(n.items);
}
std::size_t children(const TupleDisplay& n) {
    return deepest(n.items);
}
std::size_t children(const DictDisplay& n) {
    std::size_t depth = 0;
    for (const auto& [key, value] : n.items) {
        depth = std::max({depth, deepest(key), deepest(value)});
    }
    return depth;
}

}  // namespace

ExprPtr make_expr(Position position, Node node) {
    auto expr = std::make_unique<Expr>();
    expr->position = position;
    expr->depth = 1 + std::visit([](const auto& n) { return children(n); }, node);
    expr->node = std::move(node);
    return expr;
}

}  // namespace potluck::model::chat::jinja::ast
