#pragma once

// The parsed template. Depth of the tree is bounded by the parser, so walking and destroying it by
// recursion is safe.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "model/chat/jinja_value.h"

namespace potluck::model::chat::jinja {

struct FilterEntry;
struct TestEntry;

struct Position {
    std::uint32_t line = 1;
    std::uint32_t column = 1;
};

namespace ast {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Argument {
    std::string name;  ///< empty: positional
    ExprPtr value;
};
struct Arguments {
    std::vector<Argument> plain;  ///< in the order written
    ExprPtr sequence;             ///< *expr, or null
    ExprPtr mapping;              ///< **expr, or null
};

struct Literal {
    Value value;
};
struct Name {
    std::string name;
};
struct Attribute {
    ExprPtr object;
    std::string name;
};
struct Item {
    ExprPtr object;
    ExprPtr index;
};
struct Slice {
    ExprPtr object;
    ExprPtr start, stop, step;  ///< null when left out
};
struct Call {
    ExprPtr callee;
    Arguments arguments;
};
struct Filter {
    ExprPtr value;  ///< null inside filter and set blocks: their body
    const FilterEntry* filter = nullptr;
    Arguments arguments;
};
struct Test {
    ExprPtr value;
    const TestEntry* test = nullptr;
    Arguments arguments;
};
enum class UnaryOp { kNot, kMinus, kPlus };
struct Unary {
    UnaryOp op;
    ExprPtr value;
};
enum class BinaryOp { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
struct Binary {
    BinaryOp op;
    ExprPtr left, right;
};
/// `and` and `or` of two or more values.
struct Logic {
    bool is_and = false;
    std::vector<ExprPtr> values;
};
struct Concat {
    std::vector<ExprPtr> values;
};
enum class CompareOp { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };
/// a < b <= c means a < b and b <= c.
struct Compare {
    ExprPtr first;
    std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct Conditional {
    ExprPtr condition, then;
    ExprPtr otherwise;  ///< may be null
};
struct ListDisplay {
    std::vector<ExprPtr> items;
};
struct TupleDisplay {
    std::vector<ExprPtr> items;
};
struct DictDisplay {
    std::vector<std::pair<ExprPtr, ExprPtr>> items;
};

using Node =
    std::variant<Literal, Name, Attribute, Item, Slice, Call, Filter, Test, Unary, Binary, Logic,
                 Concat, Compare, Conditional, ListDisplay, TupleDisplay, DictDisplay>;
struct Expr {
    Position position;
    std::size_t depth = 1;  ///< one more than that of the deepest child
    Node node;
};
ExprPtr make_expr(Position position, Node node);

struct Stmt;
using Body = std::vector<Stmt>;

struct Target;
struct NameTarget {
    std::string name;
};
struct NamespaceTarget {
    std::string name, attribute;
};
struct TupleTarget {
    std::vector<Target> items;
};
struct Target {
    std::variant<NameTarget, NamespaceTarget, TupleTarget> node;
};

struct OutputText {
    std::string text;
};
struct Output {
    ExprPtr value;
};
struct If {
    std::vector<std::pair<ExprPtr, Body>> branches;
    Body otherwise;
};
struct For {
    Target target;
    ExprPtr items;
    ExprPtr condition;  ///< may be null
    bool recursive = false;
    Body body, otherwise;
};
struct Set {
    Target target;
    ExprPtr value;
};
struct SetBlock {
    Target target;
    ExprPtr filters;  ///< may be null
    Body body;
};
struct Parameter {
    std::string name;
    ExprPtr fallback;  ///< may be null
};
struct MacroDefinition {
    std::string name;
    std::vector<Parameter> parameters;
    Body body;
    bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};
struct CallBlock {
    ExprPtr call;  ///< its node is a Call
    MacroDefinition caller;
};
struct FilterBlock {
    ExprPtr filters;
    Body body;
};
struct With {
    std::vector<std::pair<Target, ExprPtr>> bindings;
    Body body;
};
/// A body with a scope of its own and no other effect ({% generation %}).
struct Scope {
    Body body;
};
struct Break {};
struct Continue {};

struct Stmt {
    Position position;
    std::variant<OutputText, Output, If, For, Set, SetBlock, MacroDefinition, CallBlock,
                 FilterBlock, With, Scope, Break, Continue>
        node;
};

}  // namespace ast
}  // namespace potluck::model::chat::jinja
