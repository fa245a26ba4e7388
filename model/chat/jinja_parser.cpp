#include "model/chat/jinja_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>

#include "model/chat/jinja_builtins.h"
#include "model/chat/jinja_expression_parser.h"

namespace potluck::model::chat::jinja {

using ast::Body;
using ast::ExprPtr;

namespace {

/// The largest template in use is near 30 kB.
constexpr std::size_t kMaxSourceBytes = std::size_t{1} << 20U;

using Ends = std::initializer_list<std::string_view>;

class Parser : public ExpressionParser {
  public:
    using ExpressionParser::ExpressionParser;

    Result<Body> whole() {
        POTLUCK_ASSIGN(Body body_of_template, body({}));
        POTLUCK_TRY(check_calls());
        return body_of_template;
    }

  private:
    /// Statements up to a tag named in `ends`, whose name is the current token afterwards.
    Result<Body> body(Ends ends);
    Result<ast::Stmt> statement();
    /// body(ends), then the rest of the end tag.
    Result<Body> block(std::string_view end);
    Status colon_and_block_end();

    Result<ast::Stmt> if_statement(Position position);
    Result<ast::Stmt> for_statement(Position position);
    Result<ast::Stmt> set_statement(Position position);
    Result<ast::Stmt> macro_statement(Position position);
    Result<ast::Stmt> call_statement(Position position);
    Result<ast::Stmt> filter_statement(Position position);
    Result<ast::Stmt> with_statement(Position position);
    Result<ast::Stmt> print_statement(Position position);
    Result<ast::Stmt> loop_control(Position position, bool is_break);
    Status parameters(ast::MacroDefinition& macro);
    Status macro_body(ast::MacroDefinition& macro, std::string_view end);

    Result<ast::Target> target();
    Result<ast::Target> single_target();
    Result<std::string> assignable_name();
    Status check_calls() const;

    std::size_t loops_ = 0;        ///< enclosing loops inside the innermost macro
    std::size_t loop_bodies_ = 0;  ///< enclosing loops at all
};

// --- Structure ---

Result<Body> Parser::body(Ends ends) {
    const Nested nested(*this);
    if (!nested.ok()) return too_deep();
    Body out;
    for (;;) {
        const Token token = take();
        switch (token.type) {
            case TokenType::kData:
                out.push_back({token.position, ast::OutputText{token.text}});
                break;
            case TokenType::kPrintBegin: {
                POTLUCK_ASSIGN(ExprPtr value, tuple(true));
                POTLUCK_TRY(expect(TokenType::kPrintEnd, "end of print statement"));
                out.push_back({token.position, ast::Output{std::move(value)}});
                break;
            }
            case TokenType::kBlockBegin: {
                const bool end = std::any_of(ends.begin(), ends.end(),
                                             [this](std::string_view e) { return at_name(e); });
                if (end) return out;
                POTLUCK_ASSIGN(ast::Stmt stmt, statement());
                POTLUCK_TRY(expect(TokenType::kBlockEnd, "end of statement block"));
                out.push_back(std::move(stmt));
                break;
            }
            default:
                if (ends.size() == 0) return out;
                return fail(fmt::format("unexpected end of template, looking for '{}'",
                                        *std::prev(ends.end())));
        }
    }
}

Status Parser::colon_and_block_end() {
    skip_operator(":");  // tolerated, as in Python
    return expect(TokenType::kBlockEnd, "end of statement block");
}

Result<Body> Parser::block(std::string_view end) {
    POTLUCK_TRY(colon_and_block_end());
    POTLUCK_ASSIGN(Body out, body({end}));
    take();
    return out;
}

Result<ast::Stmt> Parser::statement() {
    const Position position = current().position;
    POTLUCK_ASSIGN(const std::string tag, expect_name("the name of a statement"));
    if (tag == "if") return if_statement(position);
    if (tag == "for") return for_statement(position);
    if (tag == "set") return set_statement(position);
    if (tag == "macro") return macro_statement(position);
    if (tag == "call") return call_statement(position);
    if (tag == "filter") return filter_statement(position);
    if (tag == "with") return with_statement(position);
    if (tag == "break") return loop_control(position, true);
    if (tag == "continue") return loop_control(position, false);
    if (tag == "generation") {
        POTLUCK_ASSIGN(Body inner, block("endgeneration"));
        return ast::Stmt{position, ast::Scope{std::move(inner)}};
    }
    if (tag == "print") return print_statement(position);
    static constexpr auto kKnown = std::to_array<std::string_view>(
        {"block", "extends", "include", "import", "from", "autoescape", "do", "trans", "debug"});
    if (std::find(kKnown.begin(), kKnown.end(), tag) != kKnown.end()) {
        return error(ErrorCode::kUnsupported,
                     fmt::format("chat template line {}, column {}: the statement '{}' is not "
                                 "supported",
                                 position.line, position.column, tag));
    }
    return syntax_error(position, fmt::format("unknown tag '{}'", tag));
}

// --- Statements; the tag's name is consumed ---

Result<ast::Stmt> Parser::if_statement(Position position) {
    ast::If node;
    for (;;) {
        POTLUCK_ASSIGN(ExprPtr condition, tuple(false));
        POTLUCK_TRY(colon_and_block_end());
        POTLUCK_ASSIGN(Body then, body({"elif", "else", "endif"}));
        node.branches.emplace_back(std::move(condition), std::move(then));
        const std::string end = take().text;
        if (end == "elif") continue;
        if (end == "else") {
            POTLUCK_ASSIGN(node.otherwise, block("endif"));
        }
        return ast::Stmt{position, std::move(node)};
    }
}

Result<ast::Stmt> Parser::for_statement(Position position) {
    ast::For node;
    ++loop_bodies_;
    POTLUCK_ASSIGN(node.target, target());
    if (!skip_name("in")) return unexpected("'in'");
    POTLUCK_ASSIGN(node.items, tuple(false, "recursive"));
    if (skip_name("if")) {
        POTLUCK_ASSIGN(node.condition, expression());
    }
    node.recursive = skip_name("recursive");
    POTLUCK_TRY(colon_and_block_end());
    ++loops_;
    POTLUCK_ASSIGN(node.body, body({"endfor", "else"}));
    --loops_;
    if (take().text == "else") {
        POTLUCK_ASSIGN(node.otherwise, block("endfor"));
    }
    --loop_bodies_;
    return ast::Stmt{position, std::move(node)};
}

Result<ast::Stmt> Parser::set_statement(Position position) {
    POTLUCK_ASSIGN(ast::Target to, target());
    if (skip_operator("=")) {
        POTLUCK_ASSIGN(ExprPtr value, tuple(true));
        return ast::Stmt{position, ast::Set{std::move(to), std::move(value)}};
    }
    ast::SetBlock node{std::move(to), nullptr, {}};
    if (skip_operator("|")) {
        POTLUCK_ASSIGN(node.filters, filter_chain(nullptr));
    }
    POTLUCK_ASSIGN(node.body, block("endset"));
    return ast::Stmt{position, std::move(node)};
}

Status Parser::parameters(ast::MacroDefinition& macro) {
    POTLUCK_TRY(expect_operator("("));
    while (!at_operator(")")) {
        if (!macro.parameters.empty()) POTLUCK_TRY(expect_operator(","));
        const Position position = current().position;
        POTLUCK_ASSIGN(std::string name, assignable_name());
        ast::Parameter parameter{std::move(name), nullptr};
        if (skip_operator("=")) {
            POTLUCK_ASSIGN(parameter.fallback, expression());
        } else if (!macro.parameters.empty() && macro.parameters.back().fallback) {
            return syntax_error(position, "non-default argument follows default argument");
        }
        macro.parameters.push_back(std::move(parameter));
    }
    return expect_operator(")");
}

Status Parser::macro_body(ast::MacroDefinition& macro, std::string_view end) {
    const std::size_t outer_loops = loops_;
    loops_ = 0;  // a macro cannot break out of the loop around it
    macros_.emplace_back();
    POTLUCK_ASSIGN(macro.body, block(end));
    macro.uses_varargs = macros_.back().varargs;
    macro.uses_kwargs = macros_.back().kwargs;
    macro.uses_caller = macros_.back().caller;
    macros_.pop_back();
    loops_ = outer_loops;
    return {};
}

Result<ast::Stmt> Parser::macro_statement(Position position) {
    ast::MacroDefinition macro;
    POTLUCK_ASSIGN(macro.name, assignable_name());
    POTLUCK_TRY(parameters(macro));
    POTLUCK_TRY(macro_body(macro, "endmacro"));
    return ast::Stmt{position, std::move(macro)};
}

Result<ast::Stmt> Parser::call_statement(Position position) {
    ast::CallBlock node;
    node.caller.name = "caller";
    if (at_operator("(")) POTLUCK_TRY(parameters(node.caller));
    POTLUCK_ASSIGN(node.call, expression());
    if (!std::holds_alternative<ast::Call>(node.call->node)) {
        return syntax_error(position, "expected call");
    }
    POTLUCK_TRY(macro_body(node.caller, "endcall"));
    return ast::Stmt{position, std::move(node)};
}

Result<ast::Stmt> Parser::filter_statement(Position position) {
    ast::FilterBlock node;
    POTLUCK_ASSIGN(node.filters, filter_chain(nullptr));
    POTLUCK_ASSIGN(node.body, block("endfilter"));
    return ast::Stmt{position, std::move(node)};
}

Result<ast::Stmt> Parser::with_statement(Position position) {
    ast::With node;
    while (current().type != TokenType::kBlockEnd) {
        if (!node.bindings.empty()) POTLUCK_TRY(expect_operator(","));
        POTLUCK_ASSIGN(ast::Target to, target());
        POTLUCK_TRY(expect_operator("="));
        POTLUCK_ASSIGN(ExprPtr value, expression());
        node.bindings.emplace_back(std::move(to), std::move(value));
    }
    POTLUCK_ASSIGN(node.body, block("endwith"));
    return ast::Stmt{position, std::move(node)};
}

Result<ast::Stmt> Parser::print_statement(Position position) {
    ast::Concat values;
    while (current().type != TokenType::kBlockEnd) {
        if (!values.values.empty()) POTLUCK_TRY(expect_operator(","));
        POTLUCK_ASSIGN(ExprPtr value, expression());
        values.values.push_back(std::move(value));
    }
    return ast::Stmt{position, ast::Output{ast::make_expr(position, std::move(values))}};
}

Result<ast::Stmt> Parser::loop_control(Position position, bool is_break) {
    if (loops_ == 0) {
        return syntax_error(position,
                            fmt::format("'{}' outside of a loop", is_break ? "break" : "continue"));
    }
    if (is_break) return ast::Stmt{position, ast::Break{}};
    return ast::Stmt{position, ast::Continue{}};
}

// --- Targets of assignments ---

Result<std::string> Parser::assignable_name() {
    const Position position = current().position;
    POTLUCK_ASSIGN(std::string name, expect_name("a name to assign to"));
    static constexpr auto kConstants =
        std::to_array<std::string_view>({"true", "false", "none", "True", "False", "None"});
    if (std::find(kConstants.begin(), kConstants.end(), name) != kConstants.end()) {
        return syntax_error(position, fmt::format("can't assign to '{}'", name));
    }
    if (name == "loop" && loop_bodies_ > 0) {
        return syntax_error(position, "can't assign to special loop variable in for-loop");
    }
    bound_names_.insert(name);
    return name;
}

Result<ast::Target> Parser::single_target() {
    if (skip_operator("(")) {
        const Nested nested(*this);
        if (!nested.ok()) return too_deep();
        POTLUCK_ASSIGN(ast::Target inner, target());
        POTLUCK_TRY(expect_operator(")"));
        return inner;
    }
    if (ahead().type == TokenType::kOperator && ahead().text == ".") {
        POTLUCK_ASSIGN(std::string name, expect_name("a name to assign to"));
        take();
        POTLUCK_ASSIGN(std::string attribute, expect_name("an attribute to assign to"));
        return ast::Target{ast::NamespaceTarget{std::move(name), std::move(attribute)}};
    }
    POTLUCK_ASSIGN(std::string name, assignable_name());
    return ast::Target{ast::NameTarget{std::move(name)}};
}

Result<ast::Target> Parser::target() {
    POTLUCK_ASSIGN(ast::Target first, single_target());
    if (!at_operator(",")) return first;
    ast::TupleTarget tuple_target;
    tuple_target.items.push_back(std::move(first));
    while (skip_operator(",")) {
        const bool end = at_name("in") || at_operator("=") || at_operator(")") ||
                         current().type == TokenType::kBlockEnd;
        if (end) break;
        POTLUCK_ASSIGN(ast::Target next, single_target());
        tuple_target.items.push_back(std::move(next));
    }
    return ast::Target{std::move(tuple_target)};
}

Status Parser::check_calls() const {
    for (const auto& [name, position] : called_names_) {
        const bool known = find_function(name) != nullptr || bound_names_.contains(name) ||
                           name == "caller" || name == "loop" || name == "kwargs";
        if (known) continue;
        return error(ErrorCode::kUnsupported,
                     fmt::format("chat template line {}, column {}: the function '{}' is not "
                                 "supported",
                                 position.line, position.column, name));
    }
    return {};
}

}  // namespace

Result<Body> parse_template(std::string_view source) {
    if (source.size() > kMaxSourceBytes) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("chat template of {} bytes is over the limit of {}", source.size(),
                                 kMaxSourceBytes));
    }
    POTLUCK_ASSIGN(std::vector<Token> tokens, tokenize(source));
    return Parser(std::move(tokens)).whole();
}

}  // namespace potluck::model::chat::jinja
