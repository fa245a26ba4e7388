#pragma once

// Values of a running template: Python's data model as far as templates can see it. Everything is
// immutable except namespaces, iterators and the state of cycler/joiner/loop, which is what the
// sandbox that this follows allows. Shared by reference count; the renderer breaks the only
// possible cycles (namespaces, macro scopes) when it ends.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"
#include "model/chat/jinja_text.h"

namespace potluck::model::chat::jinja {

/// Holds every JSON integer exactly; arithmetic that leaves its range is an error.
__extension__ typedef __int128 Integer;

struct Sequence;
struct Dict;
struct Object;

/// What a comparison may still cost. Used up, it answers at once and wrongly: the caller must look.
struct Effort {
    std::uint64_t left = 0;

    bool spend(std::uint64_t work) {
        if (work > left) left = 0;
        if (left == 0) return false;
        left -= work;
        return true;
    }
};

/// How large a value is. Values may share parts, so a small program can build a value whose printed
/// form is astronomically large: weight is the cost of walking it as a tree, and saturates.
struct Extent {
    std::size_t depth = 0;     ///< levels of containers
    std::uint64_t weight = 1;  ///< values plus bytes of strings

    void include(const Extent& part);
};

/// `hint` explains where it came from, for the error of a later use.
struct Undefined {
    std::shared_ptr<const std::string> hint;
};

class Value {
  public:
    using Storage = std::variant<Undefined, std::monostate, bool, Integer, double,
                                 std::shared_ptr<const Text>, std::shared_ptr<const Sequence>,
                                 std::shared_ptr<const Dict>, std::shared_ptr<Object>>;

    Value() = default;  ///< undefined
    static Value undefined(std::string hint);
    static Value none() { return Value(Storage(std::monostate{})); }
    static Value boolean(bool b) { return Value(Storage(b)); }
    static Value integer(Integer i) { return Value(Storage(i)); }
    static Value size(std::size_t n) { return integer(static_cast<Integer>(n)); }
    static Value real(double d) { return Value(Storage(d)); }
    static Value string(Text text);
    static Value string(std::string_view literal) { return string(Text(std::string(literal))); }
    static Value list(std::vector<Value> items);
    static Value tuple(std::vector<Value> items);
    static Value sequence(Sequence sequence);
    static Value dict(Dict dict);
    static Value object(std::shared_ptr<Object> object) {
        return Value(Storage(std::move(object)));
    }

    bool is_undefined() const { return std::holds_alternative<Undefined>(storage_); }
    bool is_none() const { return std::holds_alternative<std::monostate>(storage_); }
    bool is_bool() const { return std::holds_alternative<bool>(storage_); }
    bool is_integer() const { return std::holds_alternative<Integer>(storage_); }
    bool is_real() const { return std::holds_alternative<double>(storage_); }
    /// bool, integer or real.
    bool is_number() const { return is_bool() || is_integer() || is_real(); }
    bool is_string() const { return as_text() != nullptr; }

    const bool* as_bool() const { return std::get_if<bool>(&storage_); }
    const Integer* as_integer() const { return std::get_if<Integer>(&storage_); }
    const double* as_real() const { return std::get_if<double>(&storage_); }
    const Text* as_text() const { return pointee<const Text>(); }
    const Sequence* as_sequence() const { return pointee<const Sequence>(); }
    const Dict* as_dict() const { return pointee<const Dict>(); }
    Object* as_object() const { return pointee<Object>(); }
    template <typename T>
    T* as() const;

    /// bool or integer, as Python's __index__.
    std::optional<Integer> index() const;
    double to_double() const;  ///< of a number
    std::string undefined_hint() const;

    const void* identity() const;  ///< of shared storage; null for plain values

    bool truthy() const;
    /// Python's name of the type: "str", "int", "dict", …
    std::string type_name() const;
    Extent extent() const;

  private:
    explicit Value(Storage storage) : storage_(std::move(storage)) {}
    template <typename T>
    T* pointee() const {
        const auto* pointer = std::get_if<std::shared_ptr<T>>(&storage_);
        return pointer == nullptr ? nullptr : pointer->get();
    }
    Storage storage_ = Undefined{};
};

/// Deeper values are refused where they are built, so that recursion over a value is bounded.
inline constexpr std::size_t kMaxValueDepth = 100;

enum class SequenceKind { kList, kTuple, kRange, kDictKeys, kDictValues, kDictItems, kGroup };

struct Sequence {
    SequenceKind kind = SequenceKind::kList;
    std::vector<Value> items;
    std::string label;  ///< what a range prints as
    Extent extent = {};
};

/// Keeps the order of insertion, as Python does.
struct Dict {
    std::vector<std::pair<Value, Value>> entries;
    Extent extent = {};

    const Value* find(const Value& key, Effort& effort) const;
    const Value* find(std::string_view key) const;     ///< looks at every entry at worst
    void set(Value key, Value value, Effort& effort);  ///< replaces the value of an equal key
    void set(std::string_view key, Value value);
};

enum class ObjectKind {
    kNamespace,
    kIterator,
    kFunction,
    kMethod,
    kMacro,
    kLoop,
    kCycler,
    kJoiner
};

struct Object {
    explicit Object(ObjectKind k) : kind(k) {}
    virtual ~Object() = default;
    ObjectKind kind;
    Extent extent = {.depth = 1, .weight = 1};
};

struct Namespace : Object {
    static constexpr ObjectKind kKind = ObjectKind::kNamespace;
    Namespace() : Object(kKind) { extent.depth = 0; }  // mutable; never walked below the top
    Dict attributes;
};

/// A Python generator: it can be walked once.
struct Iterator : Object {
    static constexpr ObjectKind kKind = ObjectKind::kIterator;
    Iterator(std::string_view n, std::vector<Value> i);
    std::string_view name;  ///< literal, for messages
    std::vector<Value> items;
    std::size_t next = 0;
};

struct Cycler : Object {
    static constexpr ObjectKind kKind = ObjectKind::kCycler;
    Cycler() : Object(kKind) {}
    std::vector<Value> items;
    std::size_t next = 0;
};

struct Joiner : Object {
    static constexpr ObjectKind kKind = ObjectKind::kJoiner;
    Joiner() : Object(kKind) {}
    Value separator;
    bool used = false;
};

template <typename T>
T* Value::as() const {
    Object* object = as_object();
    return object != nullptr && object->kind == T::kKind ? static_cast<T*>(object) : nullptr;
}

/// Of a container of the values.
Extent extent_of(const std::vector<Value>& values);
/// kResourceExhausted when a value is nested deeper than kMaxValueDepth.
Result<Value> bounded(Value value);

/// Python's ==. Values of different kinds are unequal (numbers and bools compare by value).
bool equals(const Value& a, const Value& b, Effort& effort);
/// Python's <, an error for types that have no order.
Result<bool> less(const Value& a, const Value& b, Effort& effort, std::string_view op = "<");
/// Keys of dicts: error for lists and dicts.
Status check_hashable(const Value& key);

/// Python's str() and repr().
Text to_text(const Value& value);
Text to_repr(const Value& value);
std::string integer_text(Integer value);
std::string real_text(double value);

/// The items that a `for` would see; an iterator is used up. Error: not iterable.
Result<std::vector<Value>> iterate(const Value& value);
/// Python's len(); nothing for types that have none.
std::optional<std::size_t> length(const Value& value);

}  // namespace potluck::model::chat::jinja
