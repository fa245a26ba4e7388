#include "model/chat/jinja_builtins.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

template <typename Entry>
const Entry* find_in(std::span<const Entry> table, std::string_view name) {
    const auto it = std::find_if(table.begin(), table.end(),
                                 [name](const Entry& entry) { return entry.name == name; });
    return it == table.end() ? nullptr : &*it;
}

}  // namespace

const FilterEntry* find_filter(std::string_view name) {
    for (const auto table : {text_filters(), value_filters(), list_filters(), select_filters()}) {
        if (const FilterEntry* entry = find_in(table, name)) return entry;
    }
    return nullptr;
}

const TestEntry* find_test(std::string_view name) {
    return find_in(all_tests(), name);
}

const FunctionEntry* find_function(std::string_view name) {
    return find_in(all_functions(), name);
}

const MethodEntry* find_method(MethodOwner owner, std::string_view name) {
    for (const auto table : {string_methods(), container_methods()}) {
        const auto it = std::find_if(table.begin(), table.end(), [&](const MethodEntry& entry) {
            return entry.owner == owner && entry.name == name;
        });
        if (it != table.end()) return &*it;
    }
    return nullptr;
}

bool is_method_name(std::string_view name) {
    return find_in(string_methods(), name) != nullptr ||
           find_in(container_methods(), name) != nullptr;
}

MethodObject::MethodObject(Value s, const MethodEntry* e)
    : Object(kKind), self(std::move(s)), entry(e) {
    extent = self.extent();
    ++extent.depth;
}

tl::unexpected<Error> value_error(std::string message) {
    return error(ErrorCode::kInvalidArgument, std::move(message));
}

Result<Bound> bind(std::string_view callee, const CallArguments& arguments,
                   std::vector<std::string_view> parameters, std::size_t required) {
    Bound bound(parameters.size(), nullptr);
    if (arguments.positional.size() > parameters.size()) {
        return value_error(fmt::format("{}() takes at most {} argument(s), {} given", callee,
                                       parameters.size(), arguments.positional.size()));
    }
    for (std::size_t i = 0; i < arguments.positional.size(); ++i) {
        bound[i] = &arguments.positional[i];
    }
    for (const auto& [name, value] : arguments.named) {
        const auto it = std::find(parameters.begin(), parameters.end(), name);
        if (name.empty() || it == parameters.end()) {
            return value_error(
                fmt::format("{}() got an unexpected keyword argument '{}'", callee, name));
        }
        const Value*& slot = bound[static_cast<std::size_t>(it - parameters.begin())];
        if (slot != nullptr) {
            return value_error(
                fmt::format("{}() got multiple values for argument '{}'", callee, name));
        }
        slot = &value;
    }
    for (std::size_t i = 0; i < required; ++i) {
        if (bound[i] == nullptr) {
            return value_error(fmt::format("{}() is missing an argument", callee));
        }
    }
    return bound;
}

Result<Integer> need_integer(const Value& value) {
    if (value.is_undefined()) return value_error(value.undefined_hint());
    if (const auto index = value.index()) return *index;
    return value_error(
        fmt::format("'{}' object cannot be interpreted as an integer", value.type_name()));
}

Result<std::int64_t> need_int64(const Value& value) {
    POTLUCK_ASSIGN(const Integer wide, need_integer(value));
    return static_cast<std::int64_t>(std::clamp(wide,
                                                Integer{std::numeric_limits<std::int64_t>::min()},
                                                Integer{std::numeric_limits<std::int64_t>::max()}));
}

Result<const Text*> need_text(std::string_view callee, const Value& value) {
    if (value.is_undefined()) return value_error(value.undefined_hint());
    if (const Text* text = value.as_text()) return text;
    return value_error(fmt::format("{}() needs a string, not {}", callee, value.type_name()));
}

}  // namespace potluck::model::chat::jinja
