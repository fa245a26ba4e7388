#pragma once

// The tables of everything that templates can call by name. Lookups happen while parsing, so that
// an unknown name is refused at load.

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/chat/jinja_value.h"

namespace potluck::model::chat::jinja {

class Run;

struct CallArguments {
    std::vector<Value> positional;
    std::vector<std::pair<std::string, Value>> named;
};

struct FilterEntry {
    std::string_view name;
    Result<Value> (*apply)(Run&, const Value&, const CallArguments&);
};
struct TestEntry {
    std::string_view name;
    Result<bool> (*apply)(Run&, const Value&, const CallArguments&);
};
struct FunctionEntry {
    std::string_view name;
    Result<Value> (*call)(Run&, const CallArguments&);
};
enum class MethodOwner { kString, kDict, kList, kLoop, kCycler };
/// `call` null: exists in Python but would change its object, which the sandbox forbids.
struct MethodEntry {
    MethodOwner owner;
    std::string_view name;
    Result<Value> (*call)(Run&, const Value&, const CallArguments&);
};

const FilterEntry* find_filter(std::string_view name);
const TestEntry* find_test(std::string_view name);
const FunctionEntry* find_function(std::string_view name);
const MethodEntry* find_method(MethodOwner owner, std::string_view name);
/// Of any type.
bool is_method_name(std::string_view name);

struct FunctionObject : Object {
    static constexpr ObjectKind kKind = ObjectKind::kFunction;
    explicit FunctionObject(const FunctionEntry* e) : Object(kKind), entry(e) {}
    const FunctionEntry* entry;
};
struct MethodObject : Object {
    static constexpr ObjectKind kKind = ObjectKind::kMethod;
    MethodObject(Value s, const MethodEntry* e);
    Value self;
    const MethodEntry* entry;
};

/// Arguments in the order of a parameter list; null where the caller gave none.
using Bound = std::vector<const Value*>;
/// Parameters named "" take no keyword. Error: too many, unknown or doubled arguments, or fewer
/// than `required`. The pointers live as long as `arguments`.
Result<Bound> bind(std::string_view callee, const CallArguments& arguments,
                   std::vector<std::string_view> parameters, std::size_t required);

tl::unexpected<Error> value_error(std::string message);
/// "'x' object cannot be interpreted as an integer" unless the value is one.
Result<Integer> need_integer(const Value& value);
/// An integer clamped to 64 bits.
Result<std::int64_t> need_int64(const Value& value);
Result<const Text*> need_text(std::string_view callee, const Value& value);

}  // namespace potluck::model::chat::jinja
