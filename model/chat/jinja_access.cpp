// a.b, a[b], slices and calls (Run in jinja_run.h).

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "model/chat/jinja_run.h"

namespace potluck::model::chat::jinja {

namespace {

Value no_attribute(const Value& object, std::string_view name) {
    return Value::undefined(
        fmt::format("'{} object' has no attribute '{}'", object.type_name(), name));
}

std::optional<MethodOwner> owner_of(const Value& value) {
    if (value.is_string()) return MethodOwner::kString;
    if (value.as_dict() != nullptr) return MethodOwner::kDict;
    if (const Sequence* sequence = value.as_sequence()) {
        if (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple) {
            return MethodOwner::kList;
        }
    }
    if (value.as<LoopObject>() != nullptr) return MethodOwner::kLoop;
    if (value.as<Cycler>() != nullptr) return MethodOwner::kCycler;
    return std::nullopt;
}

}  // namespace

std::optional<Value> Run::method(const Value& object, std::string_view name) {
    const std::optional<MethodOwner> owner = owner_of(object);
    if (!owner) return std::nullopt;
    const MethodEntry* entry = find_method(*owner, name);
    if (entry == nullptr) return std::nullopt;
    return Value::object(std::make_shared<MethodObject>(object, entry));
}

Result<Value> Run::loop_attribute(const LoopObject& loop, std::string_view name) {
    const std::size_t count = loop.items.size();
    if (name == "index") return Value::size(loop.index + 1);
    if (name == "index0") return Value::size(loop.index);
    if (name == "revindex") return Value::size(count - loop.index);
    if (name == "revindex0") return Value::size(count - loop.index - 1);
    if (name == "first") return Value::boolean(loop.index == 0);
    if (name == "last") return Value::boolean(loop.index + 1 == count);
    if (name == "length") return Value::size(count);
    if (name == "depth") return Value::size(loop.level + 1);
    if (name == "depth0") return Value::size(loop.level);
    if (name == "previtem") {
        if (loop.index > 0) return loop.items[loop.index - 1];
        return Value::undefined("there is no previous item");
    }
    if (name == "nextitem") {
        if (loop.index + 1 < count) return loop.items[loop.index + 1];
        return Value::undefined("there is no next item");
    }
    return Value::undefined(fmt::format("'loop' has no attribute '{}'", name));
}

Result<Value> Run::attribute(const Value& object, std::string_view name) {
    if (object.is_undefined()) return value_error(object.undefined_hint());
    if (const auto found = method(object, name)) return *found;
    if (const Dict* dict = object.as_dict()) {
        POTLUCK_TRY(charge(dict->entries.size()));
        const Value* value = dict->find(name);
        return value != nullptr ? *value : no_attribute(object, name);
    }
    if (const auto* names = object.as<Namespace>()) {
        POTLUCK_TRY(charge(names->attributes.entries.size()));
        const Value* value = names->attributes.find(name);
        return value != nullptr ? *value : no_attribute(object, name);
    }
    if (const auto* loop = object.as<LoopObject>()) return loop_attribute(*loop, name);
    if (const auto* cycler = object.as<Cycler>(); cycler != nullptr && name == "current") {
        return cycler->items[cycler->next];
    }
    if (const auto* macro = object.as<MacroObject>(); macro != nullptr && name == "name") {
        return Value::string(std::string_view(macro->definition->name));
    }
    if (const Sequence* group = object.as_sequence();
        group != nullptr && group->kind == SequenceKind::kGroup) {
        if (name == "grouper") return group->items[0];
        if (name == "list") return group->items[1];
    }
    return no_attribute(object, name);
}

Result<Value> Run::item(const Value& object, const Value& key) {
    if (object.is_undefined()) return value_error(object.undefined_hint());
    if (const Dict* dict = object.as_dict()) {
        POTLUCK_TRY(charge_walk(key));
        if (check_hashable(key)) {
            POTLUCK_ASSIGN(const Value* value, find(*dict, key));
            if (value != nullptr) return *value;
        }
    }
    const Sequence* sequence = object.as_sequence();
    const bool indexable =
        object.is_string() ||
        (sequence != nullptr && sequence->kind != SequenceKind::kDictKeys &&
         sequence->kind != SequenceKind::kDictValues && sequence->kind != SequenceKind::kDictItems);
    if (const auto index = key.index(); index && indexable) {
        POTLUCK_TRY(charge(object.is_string() ? object.as_text()->size() * kCharacterWork : 1));
        const auto count = static_cast<Integer>(length(object).value_or(0));
        const Integer at = *index < 0 ? *index + count : *index;
        if (at < 0 || at >= count) {
            return Value::undefined(
                fmt::format("'{} object' has no element {}", object.type_name(), *index));
        }
        if (sequence != nullptr) return sequence->items[static_cast<std::size_t>(at)];
        const auto offsets = code_point_offsets(object.as_text()->view());
        const auto nth = static_cast<std::size_t>(at);
        return Value::string(object.as_text()->slice(offsets[nth], offsets[nth + 1]));
    }
    if (const Text* name = key.as_text(); name != nullptr && object.as_dict() == nullptr) {
        return attribute(object, name->view());
    }
    if (const Text* name = key.as_text()) {
        if (const auto found = method(object, name->view())) return *found;
    }
    POTLUCK_ASSIGN(const Text shown, text_of(key));
    return Value::undefined(
        fmt::format("'{} object' has no attribute '{}'", object.type_name(), shown.view()));
}

namespace {

/// The positions that Python's slice.indices() walks.
struct SliceRange {
    Integer start, stop, step;
};
Result<SliceRange> slice_range(const Value& start, const Value& stop, const Value& step,
                               std::size_t size) {
    const auto count = static_cast<Integer>(size);
    for (const Value* bound : {&start, &stop, &step}) {
        if (bound->is_none() || bound->index()) continue;
        return value_error("slice indices must be integers or None or have an __index__ method");
    }
    SliceRange range{};
    range.step = step.index().value_or(1);
    if (range.step == 0) return value_error("slice step cannot be zero");
    const Integer low = range.step < 0 ? -1 : 0;
    const Integer high = range.step < 0 ? count - 1 : count;
    const auto clamp = [&](const Value& bound, Integer missing) {
        const auto index = bound.index();
        if (!index) return missing;
        return std::clamp(*index < 0 ? *index + count : *index, low, high);
    };
    range.start = clamp(start, range.step < 0 ? high : low);
    range.stop = clamp(stop, range.step < 0 ? low : high);
    // Longer steps than the sequence reach the same single item; keeps `at + step` small.
    range.step = std::clamp(range.step, -count - 1, count + 1);
    return range;
}

template <typename Take>
void walk(const SliceRange& range, Take&& take) {
    for (Integer at = range.start; range.step > 0 ? at < range.stop : at > range.stop;
         at += range.step) {
        take(static_cast<std::size_t>(at));
    }
}

}  // namespace

Result<Value> Run::slice(const Value& object, const Value& start, const Value& stop,
                         const Value& step) {
    if (object.is_undefined()) return value_error(object.undefined_hint());
    if (const Text* text = object.as_text()) {
        POTLUCK_TRY(charge(text->size() * 2 * kCharacterWork));
        const auto offsets = code_point_offsets(text->view());
        POTLUCK_ASSIGN(const SliceRange range, slice_range(start, stop, step, offsets.size() - 1));
        Text out;
        walk(range, [&](std::size_t at) { out.append(*text, offsets[at], offsets[at + 1]); });
        return Value::string(std::move(out));
    }
    const Sequence* sequence = object.as_sequence();
    const bool sliceable =
        sequence != nullptr &&
        (sequence->kind == SequenceKind::kList || sequence->kind == SequenceKind::kTuple ||
         sequence->kind == SequenceKind::kRange || sequence->kind == SequenceKind::kGroup);
    if (!sliceable) {
        return value_error(fmt::format("'{}' object is not subscriptable", object.type_name()));
    }
    POTLUCK_ASSIGN(const SliceRange range, slice_range(start, stop, step, sequence->items.size()));
    std::vector<Value> items;
    walk(range, [&](std::size_t at) { items.push_back(sequence->items[at]); });
    POTLUCK_TRY(charge(items.size() * kValueWork));
    return sequence->kind == SequenceKind::kList ? Value::list(std::move(items))
                                                 : Value::tuple(std::move(items));
}

Result<Value> Run::call(const Value& callee, const CallArguments& arguments) {
    if (const auto* function = callee.as<FunctionObject>()) {
        POTLUCK_ASSIGN(Value out, function->entry->call(*this, arguments));
        return bounded(std::move(out));
    }
    if (const auto* bound_method = callee.as<MethodObject>()) {
        if (bound_method->entry->call == nullptr) {
            return value_error(fmt::format("access to attribute '{}' of '{}' object is unsafe",
                                           bound_method->entry->name,
                                           bound_method->self.type_name()));
        }
        POTLUCK_ASSIGN(Value out, bound_method->entry->call(*this, bound_method->self, arguments));
        return bounded(std::move(out));
    }
    if (const auto* macro = callee.as<MacroObject>()) return call_macro(*macro, arguments);
    if (const auto* loop = callee.as<LoopObject>()) return call_loop(*loop, arguments);
    if (auto* joiner = callee.as<Joiner>()) {
        if (!arguments.positional.empty() || !arguments.named.empty()) {
            return value_error("a joiner takes no arguments");
        }
        if (std::exchange(joiner->used, true)) return joiner->separator;
        return Value::string(std::string_view());
    }
    if (callee.is_undefined()) return value_error(callee.undefined_hint());
    return value_error(fmt::format("'{}' object is not callable", callee.type_name()));
}

}  // namespace potluck::model::chat::jinja
