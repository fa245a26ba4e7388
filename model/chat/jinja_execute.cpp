// Statements, scopes and macros of a running template (Run in jinja_run.h).

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "model/chat/jinja_run.h"

namespace potluck::model::chat::jinja {

const Value* Frame::find_here(std::string_view name) const {
    for (const auto& [key, value] : names) {
        if (key == name) return &value;
    }
    return nullptr;
}

void Frame::set(std::string_view name, Value value) {
    for (auto& [key, old] : names) {
        if (key == name) {
            old = std::move(value);
            return;
        }
    }
    names.emplace_back(name, std::move(value));
}

LoopObject::LoopObject(const ast::For* s, std::vector<Value> i, std::shared_ptr<Frame> f,
                       std::size_t d)
    : Object(kKind), statement(s), items(std::move(i)), scope(std::move(f)), level(d) {
    extent = extent_of(items);
}

Run::Run(const Dict& variables, const RenderOptions& options)
    : variables_(variables), options_(options), frame_(std::make_shared<Frame>()) {
    captured_frames_.push_back(frame_);
}

Run::~Run() {
    // Macros hold scopes that hold macros, and namespaces may hold themselves: cut both. What the
    // lists still own keeps the destructors from nesting.
    for (const auto& frame : captured_frames_)
        frame->names.clear();
    for (const auto& object : namespaces_) {
        static_cast<Namespace*>(object.get())->attributes.entries.clear();
    }
}

Status Run::charge(std::uint64_t work) {
    const std::uint64_t left = options_.limits.work - std::min(work_, options_.limits.work);
    if (work > left) {
        work_ = options_.limits.work;
        return error(
            ErrorCode::kResourceExhausted,
            fmt::format("the template needs more than {} units of work", options_.limits.work));
    }
    work_ += work;
    return {};
}

tl::unexpected<Error> Run::raise(std::string message) {
    raised_ = true;
    return value_error(std::move(message));
}

Result<Text> Run::text_of(const Value& value) {
    if (const auto* loop = value.as<LoopObject>()) {
        return Text(fmt::format("<LoopContext {}/{}>", loop->index + 1, loop->items.size()));
    }
    if (const auto* names = value.as<Namespace>()) {
        for (const auto& [key, attribute] : names->attributes.entries) {
            POTLUCK_TRY(charge_walk(attribute));
        }
    }
    POTLUCK_TRY(charge_walk(value));
    return to_text(value);
}

Result<std::vector<Value>> Run::items_of(const Value& value) {
    std::size_t count = 0;
    if (const auto known = length(value)) count = *known;
    if (const auto* iterator = value.as<Iterator>()) count = iterator->items.size();
    // The characters of a string become strings of their own.
    POTLUCK_TRY(charge(count * kValueWork * (value.is_string() ? 3 : 1)));
    return iterate(value);
}

Value Run::make_namespace(Dict attributes) {
    auto object = std::make_shared<Namespace>();
    object->attributes = std::move(attributes);
    namespaces_.push_back(object);
    return Value::object(std::move(object));
}

Result<Text> Run::render(const ast::Body& body) {
    Text out;
    const Result<Flow> flow = capture(body, out);
    if (flow) return out;
    Error failure = flow.error();
    if (!raised_ && failed_at_) {
        return error(failure.code,
                     fmt::format("chat template line {}, column {}: {}", failed_at_->line,
                                 failed_at_->column, failure.message));
    }
    return tl::make_unexpected(std::move(failure));
}

Status Run::emit(const Text& text) {
    POTLUCK_TRY(charge(text.size()));
    if (out_->size() + text.size() > options_.limits.output_bytes) {
        return error(
            ErrorCode::kResourceExhausted,
            fmt::format("the output is larger than {} bytes", options_.limits.output_bytes));
    }
    out_->append(text);
    return {};
}

Result<Flow> Run::capture(const ast::Body& body, Text& out) {
    Text* const outer = std::exchange(out_, &out);
    Result<Flow> flow = execute(body);
    out_ = outer;
    return flow;
}

Result<Flow> Run::execute(const ast::Body& body) {
    const Level level(*this);
    POTLUCK_TRY(level.check());
    for (const ast::Stmt& stmt : body) {
        POTLUCK_TRY(charge(kNodeWork));
        Result<Flow> flow = std::visit([this](const auto& node) { return exec(node); }, stmt.node);
        if (!flow && !failed_at_) failed_at_ = stmt.position;
        if (!flow || *flow != Flow::kNormal) return flow;
    }
    return Flow::kNormal;
}

Result<Flow> Run::in_new_scope(const ast::Body& body) {
    const std::shared_ptr<Frame> outer = frame_;
    frame_ = std::make_shared<Frame>();
    frame_->parent = outer;
    Result<Flow> flow = execute(body);
    frame_ = outer;
    return flow;
}

Result<Flow> Run::exec(const ast::OutputText& node) {
    POTLUCK_TRY(emit(Text(node.text)));
    return Flow::kNormal;
}

Result<Flow> Run::exec(const ast::Output& node) {
    POTLUCK_ASSIGN(const Value value, evaluate(*node.value));
    POTLUCK_ASSIGN(const Text text, text_of(value));
    POTLUCK_TRY(emit(text));
    return Flow::kNormal;
}

Result<Flow> Run::exec(const ast::If& node) {
    for (const auto& [condition, body] : node.branches) {
        POTLUCK_ASSIGN(const Value value, evaluate(*condition));
        if (value.truthy()) return execute(body);
    }
    return execute(node.otherwise);
}

// --- Loops ---

Result<Flow> Run::exec(const ast::For& node) {
    POTLUCK_ASSIGN(const Value items, evaluate(*node.items));
    return run_loop(node, items, frame_, 0);
}

/// The items that pass the loop's own "if". It sees the loop's variables, but not `loop`.
Result<std::vector<Value>> Run::selected(const ast::For& node, std::vector<Value> items) {
    if (!node.condition) return items;
    const std::shared_ptr<Frame> outer = frame_;
    std::vector<Value> kept;
    for (Value& candidate : items) {
        frame_ = std::make_shared<Frame>();
        frame_->parent = outer;
        Status status = assign(node.target, candidate);
        Result<Value> passed = status ? evaluate(*node.condition) : Value();
        frame_ = outer;
        POTLUCK_TRY(status);
        if (!passed) return tl::make_unexpected(std::move(passed.error()));
        if (passed->truthy()) kept.push_back(std::move(candidate));
    }
    return kept;
}

Result<Flow> Run::run_loop(const ast::For& node, const Value& iterable,
                           std::shared_ptr<Frame> scope, std::size_t level) {
    POTLUCK_ASSIGN(std::vector<Value> all, items_of(iterable));
    const std::shared_ptr<Frame> outer = std::exchange(frame_, scope);
    Result<std::vector<Value>> items = selected(node, std::move(all));
    if (!items || items->empty()) {
        Result<Flow> flow = Flow::kNormal;
        if (items) {
            flow = in_new_scope(node.otherwise);
        } else {
            flow = tl::make_unexpected(std::move(items.error()));
        }
        frame_ = outer;
        return flow;
    }
    auto loop = std::make_shared<LoopObject>(&node, std::move(*items), scope, level);
    const Value loop_value = Value::object(loop);
    Result<Flow> flow = Flow::kNormal;
    for (; loop->index < loop->items.size(); ++loop->index) {
        frame_ = std::make_shared<Frame>();
        frame_->parent = scope;
        frame_->set("loop", loop_value);
        const Status assigned =
            charge(kNodeWork) ? assign(node.target, loop->items[loop->index]) : charge(kNodeWork);
        flow = assigned ? execute(node.body) : Result<Flow>(tl::make_unexpected(assigned.error()));
        if (!flow || *flow == Flow::kBreak) break;
    }
    frame_ = outer;
    loop->index = std::min(loop->index, loop->items.size() - 1);  // for whoever kept the object
    loop->scope.reset();
    if (flow) flow = Flow::kNormal;
    return flow;
}

Result<Value> Run::call_loop(const LoopObject& loop, const CallArguments& arguments) {
    if (!loop.statement->recursive || !loop.scope) {
        return value_error("The loop must have the 'recursive' marker to be called recursively.");
    }
    if (arguments.positional.size() != 1 || !arguments.named.empty()) {
        return value_error("loop() takes exactly one argument");
    }
    Text out;
    Text* const outer = std::exchange(out_, &out);
    const Result<Flow> flow =
        run_loop(*loop.statement, arguments.positional[0], loop.scope, loop.level + 1);
    out_ = outer;
    POTLUCK_TRY(flow);
    return Value::string(std::move(out));
}

Result<Flow> Run::exec(const ast::Break&) {
    return Flow::kBreak;
}
Result<Flow> Run::exec(const ast::Continue&) {
    return Flow::kContinue;
}

// --- Assignment ---

Status Run::assign(const ast::Target& target, const Value& value) {
    if (const auto* name = std::get_if<ast::NameTarget>(&target.node)) {
        POTLUCK_TRY(charge(frame_->names.size()));
        frame_->set(name->name, value);
        return {};
    }
    if (const auto* member = std::get_if<ast::NamespaceTarget>(&target.node)) {
        POTLUCK_ASSIGN(const Value object, eval(ast::Name{member->name}));
        auto* names = object.as<Namespace>();
        if (names == nullptr) return value_error("cannot assign attribute on non-namespace object");
        POTLUCK_TRY(charge(names->attributes.entries.size()));
        names->attributes.set(member->attribute, value);
        return {};
    }
    const auto& targets = std::get<ast::TupleTarget>(target.node).items;
    POTLUCK_ASSIGN(const std::vector<Value> items, items_of(value));
    if (items.size() != targets.size()) {
        return value_error(
            fmt::format("cannot unpack {} values into {} names", items.size(), targets.size()));
    }
    for (std::size_t i = 0; i < items.size(); ++i)
        POTLUCK_TRY(assign(targets[i], items[i]));
    return {};
}

Result<Flow> Run::exec(const ast::Set& node) {
    POTLUCK_ASSIGN(const Value value, evaluate(*node.value));
    POTLUCK_TRY(assign(node.target, value));
    return Flow::kNormal;
}

/// The body's text through a filter chain, if there is one.
Result<Value> Run::filtered(const ast::ExprPtr& filters, Text body) {
    const Value text = Value::string(std::move(body));
    if (!filters) return text;
    const Value* const outer = std::exchange(filter_body_, &text);
    Result<Value> out = evaluate(*filters);
    filter_body_ = outer;
    return out;
}

Result<Flow> Run::exec(const ast::SetBlock& node) {
    Text body;
    Text* const outer = std::exchange(out_, &body);
    const Result<Flow> flow = in_new_scope(node.body);
    out_ = outer;
    if (!flow || *flow != Flow::kNormal) return flow;
    POTLUCK_ASSIGN(const Value value, filtered(node.filters, std::move(body)));
    POTLUCK_TRY(assign(node.target, value));
    return Flow::kNormal;
}

Result<Flow> Run::exec(const ast::FilterBlock& node) {
    Text body;
    Text* const outer = std::exchange(out_, &body);
    const Result<Flow> flow = in_new_scope(node.body);
    out_ = outer;
    if (!flow || *flow != Flow::kNormal) return flow;
    POTLUCK_ASSIGN(const Value value, filtered(node.filters, std::move(body)));
    POTLUCK_ASSIGN(const Text text, text_of(value));
    POTLUCK_TRY(emit(text));
    return Flow::kNormal;
}

Result<Flow> Run::exec(const ast::With& node) {
    std::vector<Value> values;  // all before any is bound: they see the outer names
    for (const auto& [target, expr] : node.bindings) {
        POTLUCK_ASSIGN(Value value, evaluate(*expr));
        values.push_back(std::move(value));
    }
    const std::shared_ptr<Frame> outer = frame_;
    frame_ = std::make_shared<Frame>();
    frame_->parent = outer;
    Status status;
    for (std::size_t i = 0; i < values.size() && status; ++i) {
        status = assign(node.bindings[i].first, values[i]);
    }
    Result<Flow> flow = status ? execute(node.body) : Flow::kNormal;
    frame_ = outer;
    POTLUCK_TRY(status);
    return flow;
}

Result<Flow> Run::exec(const ast::Scope& node) {
    return in_new_scope(node.body);
}

// --- Macros ---

Value Run::make_macro(const ast::MacroDefinition& definition) {
    if (captured_frames_.back() != frame_) captured_frames_.push_back(frame_);
    return Value::object(std::make_shared<MacroObject>(&definition, frame_));
}

Result<Flow> Run::exec(const ast::MacroDefinition& node) {
    frame_->set(node.name, make_macro(node));
    return Flow::kNormal;
}

Result<Flow> Run::exec(const ast::CallBlock& node) {
    const auto& call_node = std::get<ast::Call>(node.call->node);
    POTLUCK_ASSIGN(const Value callee, evaluate(*call_node.callee));
    POTLUCK_ASSIGN(CallArguments arguments, evaluate(call_node.arguments));
    arguments.named.emplace_back("caller", make_macro(node.caller));
    POTLUCK_ASSIGN(const Value value, call(callee, arguments));
    POTLUCK_ASSIGN(const Text text, text_of(value));
    POTLUCK_TRY(emit(text));
    return Flow::kNormal;
}

/// Binds the parameters in `frame`, which is already the current one: defaults may use the
/// parameters before them.
Status Run::bind_macro(const MacroObject& macro, const CallArguments& arguments, Frame& frame) {
    const ast::MacroDefinition& definition = *macro.definition;
    std::vector<std::pair<std::string, Value>> named = arguments.named;
    // Looking each up in the other is quadratic, and ** can give any number of them.
    POTLUCK_TRY(charge(named.size() * (kValueWork + named.size() + definition.parameters.size())));
    const auto take_named = [&named](std::string_view name) -> std::optional<Value> {
        const auto it = std::find_if(named.begin(), named.end(),
                                     [name](const auto& entry) { return entry.first == name; });
        if (it == named.end()) return std::nullopt;
        Value value = std::move(it->second);
        named.erase(it);
        return value;
    };
    const auto& given = arguments.positional;
    for (std::size_t i = 0; i < definition.parameters.size(); ++i) {
        const ast::Parameter& parameter = definition.parameters[i];
        std::optional<Value> value = i < given.size() ? given[i] : take_named(parameter.name);
        if (!value && parameter.fallback) {
            POTLUCK_ASSIGN(value, evaluate(*parameter.fallback));
        }
        if (!value) {
            value =
                Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name));
        }
        frame.set(parameter.name, std::move(*value));
    }
    const auto is_parameter = [&definition](std::string_view name) {
        return std::any_of(definition.parameters.begin(), definition.parameters.end(),
                           [name](const ast::Parameter& p) { return p.name == name; });
    };
    if (definition.uses_caller && !is_parameter("caller")) {
        frame.set("caller", take_named("caller").value_or(Value::undefined("No caller defined")));
    }
    if (definition.uses_kwargs && !is_parameter("kwargs")) {
        Dict rest;
        for (auto& [name, value] : named) {
            rest.set(name, std::move(value));
        }
        named.clear();
        POTLUCK_ASSIGN(Value dict, bounded(Value::dict(std::move(rest))));
        frame.set("kwargs", std::move(dict));
    }
    if (!named.empty()) {
        return value_error(fmt::format("macro '{}' takes no keyword argument '{}'", definition.name,
                                       named.front().first));
    }
    const std::size_t extra = given.size() - std::min(given.size(), definition.parameters.size());
    if (definition.uses_varargs && !is_parameter("varargs")) {
        std::vector<Value> rest(given.end() - static_cast<std::ptrdiff_t>(extra), given.end());
        POTLUCK_ASSIGN(Value tuple, bounded(Value::tuple(std::move(rest))));
        frame.set("varargs", std::move(tuple));
    } else if (extra > 0) {
        return value_error(fmt::format("macro '{}' takes not more than {} argument(s)",
                                       definition.name, definition.parameters.size()));
    }
    return {};
}

Result<Value> Run::call_macro(const MacroObject& macro, const CallArguments& arguments) {
    const std::shared_ptr<Frame> outer = frame_;
    frame_ = std::make_shared<Frame>();
    frame_->parent = macro.scope;
    Text out;
    const Status bound = bind_macro(macro, arguments, *frame_);
    Result<Flow> flow = bound ? capture(macro.definition->body, out) : Flow::kNormal;
    frame_ = outer;
    POTLUCK_TRY(bound);
    POTLUCK_TRY(flow);
    return Value::string(std::move(out));
}

}  // namespace potluck::model::chat::jinja
