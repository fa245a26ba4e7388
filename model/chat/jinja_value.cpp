#include "model/chat/jinja_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace potluck::model::chat::jinja {

Value Value::undefined(std::string hint) {
    return Value(Storage(Undefined{std::make_shared<const std::string>(std::move(hint))}));
}
Value Value::string(Text text) {
    return Value(Storage(std::make_shared<const Text>(std::move(text))));
}
Value Value::list(std::vector<Value> items) {
    return sequence({.kind = SequenceKind::kList, .items = std::move(items), .label = {}});
}
Value Value::tuple(std::vector<Value> items) {
    return sequence({.kind = SequenceKind::kTuple, .items = std::move(items), .label = {}});
}
Value Value::sequence(Sequence sequence) {
    sequence.extent = extent_of(sequence.items);
    return Value(Storage(std::make_shared<const Sequence>(std::move(sequence))));
}
Value Value::dict(Dict dict) {
    dict.extent = {};
    for (const auto& [key, value] : dict.entries) {
        dict.extent.include(key.extent());
        dict.extent.include(value.extent());
    }
    ++dict.extent.depth;
    return Value(Storage(std::make_shared<const Dict>(std::move(dict))));
}

Iterator::Iterator(std::string_view n, std::vector<Value> i)
    : Object(kKind), name(n), items(std::move(i)) {
    extent = extent_of(items);
}

std::optional<Integer> Value::index() const {
    if (const bool* b = as_bool()) return *b ? 1 : 0;
    if (const Integer* i = as_integer()) return *i;
    return std::nullopt;
}

double Value::to_double() const {
    if (const double* d = as_real()) return *d;
    return static_cast<double>(index().value_or(0));
}

std::string Value::undefined_hint() const {
    const auto* undefined = std::get_if<Undefined>(&storage_);
    return undefined != nullptr && undefined->hint ? *undefined->hint : "value is undefined";
}

const void* Value::identity() const {
    if (const Text* text = as_text()) return text;
    if (const Sequence* sequence = as_sequence()) return sequence;
    if (const Dict* dict = as_dict()) return dict;
    return as_object();
}

bool Value::truthy() const {
    if (const bool* b = as_bool()) return *b;
    if (const Integer* i = as_integer()) return *i != 0;
    if (const double* d = as_real()) return *d != 0.0;
    if (const Text* text = as_text()) return !text->empty();
    if (const Sequence* sequence = as_sequence()) return !sequence->items.empty();
    if (const Dict* dict = as_dict()) return !dict->entries.empty();
    return as_object() != nullptr;
}

std::string Value::type_name() const {
    if (is_undefined()) return "Undefined";
    if (is_none()) return "NoneType";
    if (is_bool()) return "bool";
    if (is_integer()) return "int";
    if (is_real()) return "float";
    if (is_string()) return "str";
    if (as_dict() != nullptr) return "dict";
    if (const Sequence* sequence = as_sequence()) {
        switch (sequence->kind) {
            case SequenceKind::kList:
                return "list";
            case SequenceKind::kTuple:
                return "tuple";
            case SequenceKind::kRange:
                return "range";
            case SequenceKind::kDictKeys:
                return "dict_keys";
            case SequenceKind::kDictValues:
                return "dict_values";
            case SequenceKind::kDictItems:
                return "dict_items";
            case SequenceKind::kGroup:
                return "_GroupTuple";
        }
    }
    if (const Object* object = as_object()) {
        switch (object->kind) {
            case ObjectKind::kNamespace:
                return "Namespace";
            case ObjectKind::kIterator:
                return "generator";
            case ObjectKind::kFunction:
                return "function";
            case ObjectKind::kMethod:
                return "builtin_function_or_method";
            case ObjectKind::kMacro:
                return "Macro";
            case ObjectKind::kLoop:
                return "LoopContext";
            case ObjectKind::kCycler:
                return "Cycler";
            case ObjectKind::kJoiner:
                return "Joiner";
        }
    }
    return "object";
}

void Extent::include(const Extent& part) {
    constexpr std::uint64_t kMost = std::uint64_t{1} << 60U;
    depth = std::max(depth, part.depth);
    weight = std::min(kMost, weight + part.weight);
}

Extent Value::extent() const {
    if (const Text* text = as_text()) return {.depth = 0, .weight = 1 + text->size()};
    if (const Sequence* sequence = as_sequence()) return sequence->extent;
    if (const Dict* dict = as_dict()) return dict->extent;
    if (const Object* object = as_object()) return object->extent;
    return {};
}

Extent extent_of(const std::vector<Value>& values) {
    Extent out;
    for (const Value& value : values)
        out.include(value.extent());
    ++out.depth;
    return out;
}

Result<Value> bounded(Value value) {
    if (value.extent().depth > kMaxValueDepth) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("a value is nested deeper than {} levels", kMaxValueDepth));
    }
    return value;
}

const Value* Dict::find(const Value& key, Effort& effort) const {
    for (const auto& [k, value] : entries) {
        if (equals(k, key, effort)) return &value;
    }
    return nullptr;
}
const Value* Dict::find(std::string_view key) const {
    for (const auto& [k, value] : entries) {
        if (const Text* text = k.as_text(); text != nullptr && text->view() == key) return &value;
    }
    return nullptr;
}
void Dict::set(Value key, Value value, Effort& effort) {
    for (auto& [k, old] : entries) {
        if (equals(k, key, effort)) {
            old = std::move(value);
            return;
        }
    }
    entries.emplace_back(std::move(key), std::move(value));
}
void Dict::set(std::string_view key, Value value) {
    for (auto& [k, old] : entries) {
        if (const Text* text = k.as_text(); text != nullptr && text->view() == key) {
            old = std::move(value);
            return;
        }
    }
    entries.emplace_back(Value::string(key), std::move(value));
}

namespace {

/// Of looking at one pair of values.
constexpr std::uint64_t kCompareWork = 4;

bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b, Effort& effort) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [&effort](const Value& x, const Value& y) { return equals(x, y, effort); });
}

bool is_tuple(const Sequence& s) {
    return s.kind == SequenceKind::kTuple || s.kind == SequenceKind::kGroup;
}

bool equal_dicts(const Dict& a, const Dict& b, Effort& effort) {
    if (a.entries.size() != b.entries.size()) return false;
    return std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
        const Value* other = b.find(entry.first, effort);
        return other != nullptr && equals(entry.second, *other, effort);
    });
}

bool equal_numbers(const Value& a, const Value& b) {
    if (a.is_real() || b.is_real()) return a.to_double() == b.to_double();
    return a.index() == b.index();
}

tl::unexpected<Error> no_order(const Value& a, const Value& b, std::string_view op) {
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("'{}' not supported between instances of '{}' and '{}'", op,
                             a.type_name(), b.type_name()));
}

bool spend_on_texts(const Text& a, const Text& b, Effort& effort) {
    return effort.spend(std::min(a.size(), b.size()) / 16);
}

}  // namespace

bool equals(const Value& a, const Value& b, Effort& effort) {
    if (!effort.spend(kCompareWork)) return false;
    if (a.is_number() && b.is_number()) return equal_numbers(a, b);
    if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
    if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
    if (a.is_string() && b.is_string()) {
        const Text& s = *a.as_text();
        const Text& t = *b.as_text();
        return s.size() == t.size() && spend_on_texts(s, t, effort) && s.view() == t.view();
    }
    if (a.as_sequence() != nullptr && b.as_sequence() != nullptr) {
        const Sequence& s = *a.as_sequence();
        const Sequence& t = *b.as_sequence();
        if (&s == &t) return true;
        const bool same_type = s.kind == t.kind || (is_tuple(s) && is_tuple(t));
        return same_type && s.kind != SequenceKind::kDictValues &&
               equal_items(s.items, t.items, effort);
    }
    if (a.as_dict() != nullptr && b.as_dict() != nullptr) {
        return a.as_dict() == b.as_dict() || equal_dicts(*a.as_dict(), *b.as_dict(), effort);
    }
    return a.as_object() != nullptr && a.as_object() == b.as_object();
}

Result<bool> less(const Value& a, const Value& b, Effort& effort, std::string_view op) {
    if (!effort.spend(kCompareWork)) return false;
    if (a.is_undefined()) return error(ErrorCode::kInvalidArgument, a.undefined_hint());
    if (b.is_undefined()) return error(ErrorCode::kInvalidArgument, b.undefined_hint());
    if (a.is_number() && b.is_number()) {
        if (a.is_real() || b.is_real()) return a.to_double() < b.to_double();
        return *a.index() < *b.index();
    }
    if (a.is_string() && b.is_string()) {
        return spend_on_texts(*a.as_text(), *b.as_text(), effort) &&
               a.as_text()->view() < b.as_text()->view();
    }
    if (a.as_sequence() != nullptr && b.as_sequence() != nullptr) {
        const Sequence& s = *a.as_sequence();
        const Sequence& t = *b.as_sequence();
        const bool lists = s.kind == SequenceKind::kList && t.kind == SequenceKind::kList;
        if (!lists && !(is_tuple(s) && is_tuple(t))) return no_order(a, b, op);
        const std::size_t common = std::min(s.items.size(), t.items.size());
        for (std::size_t i = 0; i < common; ++i) {
            if (equals(s.items[i], t.items[i], effort)) continue;
            return less(s.items[i], t.items[i], effort, op);
        }
        return s.items.size() < t.items.size();
    }
    return no_order(a, b, op);
}

Status check_hashable(const Value& key) {
    const Sequence* sequence = key.as_sequence();
    const bool tuple = sequence != nullptr && is_tuple(*sequence);
    if (tuple) {
        for (const Value& item : sequence->items)
            POTLUCK_TRY(check_hashable(item));
        return {};
    }
    if (key.as_dict() != nullptr ||
        (sequence != nullptr && sequence->kind != SequenceKind::kRange)) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("unhashable type: '{}'", key.type_name()));
    }
    return {};
}

Result<std::vector<Value>> iterate(const Value& value) {
    if (value.is_undefined()) return std::vector<Value>{};
    if (const Sequence* sequence = value.as_sequence()) return sequence->items;
    if (const Dict* dict = value.as_dict()) {
        std::vector<Value> keys;
        keys.reserve(dict->entries.size());
        for (const auto& [key, unused] : dict->entries)
            keys.push_back(key);
        return keys;
    }
    if (const Text* text = value.as_text()) {
        std::vector<Value> characters;
        for (std::size_t at = 0; at < text->size();) {
            const std::size_t size = code_point_at(text->view(), at).size;
            characters.push_back(Value::string(text->slice(at, at + size)));
            at += size;
        }
        return characters;
    }
    if (auto* iterator = value.as<Iterator>()) {
        const auto from = iterator->items.begin() + static_cast<std::ptrdiff_t>(iterator->next);
        iterator->next = iterator->items.size();
        return std::vector<Value>(from, iterator->items.end());
    }
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("'{}' object is not iterable", value.type_name()));
}

std::optional<std::size_t> length(const Value& value) {
    if (value.is_undefined()) return 0;
    if (const Sequence* sequence = value.as_sequence()) return sequence->items.size();
    if (const Dict* dict = value.as_dict()) return dict->entries.size();
    if (const Text* text = value.as_text()) return count_code_points(text->view());
    return std::nullopt;
}

}  // namespace potluck::model::chat::jinja
