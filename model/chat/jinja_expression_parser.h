#pragma once

// Expressions of templates, by recursive descent over the tokens. The grammar is Jinja's own: its
// precedences differ from Python's in places (`not`, `~`, filters and tests bind tightest).

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/chat/jinja_ast.h"
#include "model/chat/jinja_lexer.h"

namespace potluck::model::chat::jinja {

/// Parentheses, brackets, calls and blocks inside each other.
inline constexpr std::size_t kMaxNesting = 100;
/// Levels of one expression tree; long chains such as a + b + c … are deep without being nested.
inline constexpr std::size_t kMaxExpressionDepth = 200;

class ExpressionParser {
  public:
    explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

    Result<ast::ExprPtr> expression() { return conditional(); }
    /// expression {"," expression}: a tuple if there is a comma. `with_condition` false leaves a
    /// trailing "if" to the caller. `stop` is a name that ends the tuple.
    Result<ast::ExprPtr> tuple(bool with_condition, std::string_view stop = {},
                               bool allow_empty = false);
    Result<ast::ExprPtr> logical_or();
    Result<ast::ExprPtr> primary();
    Result<ast::ExprPtr> unary(bool with_filters = true);
    /// name[(arguments)] {"|" …}, applied to `value` (null: to a body). The first "|" is consumed.
    Result<ast::ExprPtr> filter_chain(ast::ExprPtr value);

  protected:
    const Token& current() const { return tokens_[at_]; }
    const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
    Token take() { return std::move(tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]); }
    bool at_operator(std::string_view op) const {
        return current().type == TokenType::kOperator && current().text == op;
    }
    bool at_name(std::string_view name) const {
        return current().type == TokenType::kName && current().text == name;
    }
    bool skip_operator(std::string_view op);
    bool skip_name(std::string_view name);
    Status expect_operator(std::string_view op);
    Status expect(TokenType type, std::string_view what);
    Result<std::string> expect_name(std::string_view what);
    tl::unexpected<Error> fail(std::string_view message) const;
    tl::unexpected<Error> unexpected(std::string_view wanted) const;
    static std::string describe(const Token& token);

    /// Counts nested constructs; check `ok()` before recursing.
    class Nested {
      public:
        explicit Nested(ExpressionParser& parser) : parser_(parser) { ++parser_.nesting_; }
        ~Nested() { --parser_.nesting_; }
        Nested(const Nested&) = delete;
        Nested& operator=(const Nested&) = delete;
        bool ok() const { return parser_.nesting_ <= kMaxNesting; }

      private:
        ExpressionParser& parser_;
    };
    tl::unexpected<Error> too_deep() const { return fail("nested too deeply"); }

    /// What the enclosing macros (and call blocks) use of the names that Jinja gives them.
    struct MacroUse {
        bool varargs = false, kwargs = false, caller = false;
    };
    std::vector<MacroUse> macros_;
    std::set<std::string, std::less<>> bound_names_;
    /// Names that are called: they must be functions that we know or be bound somewhere.
    std::vector<std::pair<std::string, Position>> called_names_;

  private:
    Result<ast::ExprPtr> make(Position position, ast::Node node);

    Result<ast::ExprPtr> conditional();
    Result<ast::ExprPtr> logical_and();
    Result<ast::ExprPtr> logical_not();
    Result<ast::ExprPtr> compare();
    Result<ast::ExprPtr> sum();
    Result<ast::ExprPtr> concat();
    Result<ast::ExprPtr> product();
    Result<ast::ExprPtr> power();
    Result<ast::ExprPtr> postfix(ast::ExprPtr value);
    Result<ast::ExprPtr> filters_and_tests(ast::ExprPtr value);
    Result<ast::ExprPtr> dotted(ast::ExprPtr value);
    Result<ast::ExprPtr> subscript(ast::ExprPtr value);
    Result<ast::ExprPtr> slice(Position position, ast::ExprPtr value, ast::ExprPtr start);
    Result<ast::ExprPtr> call(ast::ExprPtr callee);
    Result<ast::ExprPtr> one_filter(ast::ExprPtr value);
    Result<ast::ExprPtr> test(ast::ExprPtr value);
    Result<ast::ExprPtr> name_or_constant();
    Result<ast::ExprPtr> list();
    Result<ast::ExprPtr> dict();
    Result<ast::Arguments> arguments();
    Status check_called(const ast::Expr& callee);
    Status check_named_argument(std::string_view filter, const ast::Arguments& arguments,
                                Position position) const;
    Result<std::string> dotted_name(std::string_view what);

    std::vector<Token> tokens_;
    std::size_t at_ = 0;
    std::size_t nesting_ = 0;
};

}  // namespace potluck::model::chat::jinja
