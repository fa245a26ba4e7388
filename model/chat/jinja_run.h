#pragma once

// One rendering of one template: scopes, output and budget. Used by one thread, then thrown away.

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/chat/jinja_ast.h"
#include "model/chat/jinja_builtins.h"
#include "model/chat/jinja_value.h"
#include "model/chat/template.h"

namespace potluck::model::chat::jinja {

/// Names set in one scope. The keys live in the template's tree.
struct Frame {
    std::shared_ptr<Frame> parent;
    std::vector<std::pair<std::string_view, Value>> names;

    const Value* find_here(std::string_view name) const;
    void set(std::string_view name, Value value);
};

struct MacroObject : Object {
    static constexpr ObjectKind kKind = ObjectKind::kMacro;
    MacroObject(const ast::MacroDefinition* d, std::shared_ptr<Frame> s)
        : Object(kKind), definition(d), scope(std::move(s)) {}
    const ast::MacroDefinition* definition;
    std::shared_ptr<Frame> scope;  ///< where it was defined
};

struct LoopObject : Object {
    static constexpr ObjectKind kKind = ObjectKind::kLoop;
    LoopObject(const ast::For* s, std::vector<Value> i, std::shared_ptr<Frame> f, std::size_t d);
    const ast::For* statement;
    std::vector<Value> items;
    std::shared_ptr<Frame> scope;  ///< around the loop
    std::size_t level;             ///< of recursion, from 0
    std::size_t index = 0;
    Value last_changed;  ///< a tuple; undefined before the first
};

enum class Flow { kNormal, kBreak, kContinue };

class Run {
  public:
    Run(const Dict& variables, const RenderOptions& options);
    ~Run();
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    Result<Text> render(const ast::Body& body);

    // --- For the builtins ---

    /// kResourceExhausted when the budget is used up.
    Status charge(std::uint64_t work);
    /// The budget of a comparison, and its bill.
    Effort effort() const {
        return Effort{options_.limits.work - std::min(work_, options_.limits.work)};
    }
    Status settle(const Effort& after);
    Result<bool> equal(const Value& a, const Value& b);
    Result<bool> before(const Value& a, const Value& b, std::string_view op = "<");
    Result<const Value*> find(const Dict& dict, const Value& key);  ///< null: not there
    Status set(Dict& dict, Value key, Value value);
    Status charge_walk(const Value& value) { return charge(value.extent().weight); }
    Result<Text> text_of(const Value& value);                             ///< str(), charged
    Result<std::vector<Value>> items_of(const Value& value);              ///< iterate(), charged
    Result<Value> attribute(const Value& object, std::string_view name);  ///< a.b
    Result<Value> item(const Value& object, const Value& key);            ///< a[b]
    Result<Value> call(const Value& callee, const CallArguments& arguments);
    Result<Value> binary(ast::BinaryOp op, const Value& left, const Value& right);
    Result<bool> compare(ast::CompareOp op, const Value& left, const Value& right);
    /// Python's `in`.
    Result<bool> contains(const Value& container, const Value& value);
    Value make_namespace(Dict attributes);
    const RenderOptions& options() const { return options_; }
    /// raise_exception: the message goes to the client as it is.
    tl::unexpected<Error> raise(std::string message);

  private:
    class Level;  ///< counts recursion

    // Expressions (jinja_evaluate.cpp)
    Result<Value> evaluate(const ast::Expr& expr);
    Result<Value> eval(const ast::Literal& node);
    Result<Value> eval(const ast::Name& node);
    Result<Value> eval(const ast::Attribute& node);
    Result<Value> eval(const ast::Item& node);
    Result<Value> eval(const ast::Slice& node);
    Result<Value> eval(const ast::Call& node);
    Result<Value> eval(const ast::Filter& node);
    Result<Value> eval(const ast::Test& node);
    Result<Value> eval(const ast::Unary& node);
    Result<Value> eval(const ast::Binary& node);
    Result<Value> eval(const ast::Logic& node);
    Result<Value> eval(const ast::Concat& node);
    Result<Value> eval(const ast::Compare& node);
    Result<Value> eval(const ast::Conditional& node);
    Result<Value> eval(const ast::ListDisplay& node);
    Result<Value> eval(const ast::TupleDisplay& node);
    Result<Value> eval(const ast::DictDisplay& node);
    Result<std::vector<Value>> evaluate_all(const std::vector<ast::ExprPtr>& items);
    Result<CallArguments> evaluate(const ast::Arguments& arguments);

    // Operators (jinja_operators.cpp)
    Result<Value> add(const Value& left, const Value& right);
    Result<Value> multiply(const Value& left, const Value& right);
    Result<Value> repeated(const Value& value, Integer times);

    // Access (jinja_access.cpp)
    Result<Value> slice(const Value& object, const Value& start, const Value& stop,
                        const Value& step);
    Result<Value> loop_attribute(const LoopObject& loop, std::string_view name);
    std::optional<Value> method(const Value& object, std::string_view name);

    // Statements (jinja_execute.cpp)
    Result<Flow> execute(const ast::Body& body);
    Result<Flow> exec(const ast::OutputText& node);
    Result<Flow> exec(const ast::Output& node);
    Result<Flow> exec(const ast::If& node);
    Result<Flow> exec(const ast::For& node);
    Result<Flow> exec(const ast::Set& node);
    Result<Flow> exec(const ast::SetBlock& node);
    Result<Flow> exec(const ast::MacroDefinition& node);
    Result<Flow> exec(const ast::CallBlock& node);
    Result<Flow> exec(const ast::FilterBlock& node);
    Result<Flow> exec(const ast::With& node);
    Result<Flow> exec(const ast::Scope& node);
    Result<Flow> exec(const ast::Break& node);
    Result<Flow> exec(const ast::Continue& node);
    Result<Flow> in_new_scope(const ast::Body& body);
    Result<Flow> run_loop(const ast::For& node, const Value& items, std::shared_ptr<Frame> scope,
                          std::size_t level);
    Result<std::vector<Value>> selected(const ast::For& node, std::vector<Value> items);
    /// Runs the body with its output sent to `out`.
    Result<Flow> capture(const ast::Body& body, Text& out);
    Result<Value> filtered(const ast::ExprPtr& filters, Text body);
    Status assign(const ast::Target& target, const Value& value);
    Value make_macro(const ast::MacroDefinition& definition);
    Result<Value> call_macro(const MacroObject& macro, const CallArguments& arguments);
    Status bind_macro(const MacroObject& macro, const CallArguments& arguments, Frame& frame);
    Result<Value> call_loop(const LoopObject& loop, const CallArguments& arguments);
    Status emit(const Text& text);

    const Dict& variables_;
    const RenderOptions& options_;
    std::shared_ptr<Frame> frame_;
    Text* out_ = nullptr;
    const Value* filter_body_ = nullptr;  ///< what a filter chain without a value applies to
    std::uint64_t work_ = 0;
    std::size_t depth_ = 0;
    std::optional<Position> failed_at_;  ///< the innermost expression that failed
    bool raised_ = false;
    // Everything that could take part in a cycle; emptied at the end.
    std::vector<std::shared_ptr<Frame>> captured_frames_;
    std::vector<std::shared_ptr<Object>> namespaces_;
};

/// Counts one level of recursion while it lives.
class Run::Level {
  public:
    explicit Level(Run& run) : run_(run) { ++run_.depth_; }
    ~Level() { --run_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    Status check() const {
        if (run_.depth_ <= run_.options_.limits.depth) return {};
        return error(ErrorCode::kResourceExhausted, "the template recurses too deeply");
    }

  private:
    Run& run_;
};

inline constexpr std::uint64_t kNodeWork = 50;
/// Of one value in a container.
inline constexpr std::uint64_t kValueWork = 64;
/// Of one byte that is decoded, mapped and appended by itself.
inline constexpr std::uint64_t kCharacterWork = 4;

}  // namespace potluck::model::chat::jinja
