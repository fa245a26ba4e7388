// Methods of dicts, lists, loops and cyclers (jinja_tables.h).

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

// --- dict ---

Result<Value> get(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("get", arguments, {"", ""}, 1));
    POTLUCK_ASSIGN(const Value* value, run.find(*self.as_dict(), *args[0]));
    if (value != nullptr) return *value;
    return args[1] != nullptr ? *args[1] : Value::none();
}

template <SequenceKind kKind>
Result<Value> view(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_TRY(bind("dict method", arguments, {}, 0));
    const Dict& dict = *self.as_dict();
    POTLUCK_TRY(run.charge(dict.entries.size() * 3 * kValueWork));
    Sequence out{.kind = kKind, .items = {}, .label = {}};
    for (const auto& [key, value] : dict.entries) {
        if (kKind == SequenceKind::kDictKeys) out.items.push_back(key);
        if (kKind == SequenceKind::kDictValues) out.items.push_back(value);
        if (kKind == SequenceKind::kDictItems) out.items.push_back(Value::tuple({key, value}));
    }
    return Value::sequence(std::move(out));
}

/// Nothing can change a value, so a copy is the value.
Result<Value> copy(Run&, const Value& self, const CallArguments& arguments) {
    POTLUCK_TRY(bind("copy", arguments, {}, 0));
    return self;
}

// --- list and tuple ---

Result<Value> count(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("count", arguments, {""}, 1));
    Integer hits = 0;
    for (const Value& item : self.as_sequence()->items) {
        POTLUCK_ASSIGN(const bool same, run.equal(item, *args[0]));
        hits += same ? 1 : 0;
    }
    return Value::integer(hits);
}

Result<Value> index(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("index", arguments, {""}, 1));
    const auto& items = self.as_sequence()->items;
    for (std::size_t i = 0; i < items.size(); ++i) {
        POTLUCK_ASSIGN(const bool same, run.equal(items[i], *args[0]));
        if (same) return Value::size(i);
    }
    return value_error("the value is not in the list");
}

// --- loop ---

Result<Value> loop_cycle(Run&, const Value& self, const CallArguments& arguments) {
    if (arguments.positional.empty() || !arguments.named.empty()) {
        return value_error("no items for cycling given");
    }
    return arguments.positional[self.as<LoopObject>()->index % arguments.positional.size()];
}

Result<Value> loop_changed(Run& run, const Value& self, const CallArguments& arguments) {
    auto* loop = self.as<LoopObject>();
    const Value given = Value::tuple(arguments.positional);
    bool same = false;
    if (!loop->last_changed.is_undefined()) {
        POTLUCK_ASSIGN(same, run.equal(loop->last_changed, given));
    }
    if (!same) loop->last_changed = given;
    return Value::boolean(!same);
}

// --- cycler ---

Result<Value> cycler_next(Run&, const Value& self, const CallArguments& arguments) {
    POTLUCK_TRY(bind("next", arguments, {}, 0));
    auto* cycler = self.as<Cycler>();
    const Value item = cycler->items[cycler->next];
    cycler->next = (cycler->next + 1) % cycler->items.size();
    return item;
}

Result<Value> cycler_reset(Run&, const Value& self, const CallArguments& arguments) {
    POTLUCK_TRY(bind("reset", arguments, {}, 0));
    self.as<Cycler>()->next = 0;
    return Value::none();
}

}  // namespace

std::span<const MethodEntry> container_methods() {
    static constexpr auto kTable = std::to_array<MethodEntry>({
        {MethodOwner::kDict, "copy", copy},
        {MethodOwner::kDict, "get", get},
        {MethodOwner::kDict, "items", view<SequenceKind::kDictItems>},
        {MethodOwner::kDict, "keys", view<SequenceKind::kDictKeys>},
        {MethodOwner::kDict, "values", view<SequenceKind::kDictValues>},
        {MethodOwner::kDict, "clear", nullptr},
        {MethodOwner::kDict, "pop", nullptr},
        {MethodOwner::kDict, "popitem", nullptr},
        {MethodOwner::kDict, "setdefault", nullptr},
        {MethodOwner::kDict, "update", nullptr},
        {MethodOwner::kList, "copy", copy},
        {MethodOwner::kList, "count", count},
        {MethodOwner::kList, "index", index},
        {MethodOwner::kList, "append", nullptr},
        {MethodOwner::kList, "clear", nullptr},
        {MethodOwner::kList, "extend", nullptr},
        {MethodOwner::kList, "insert", nullptr},
        {MethodOwner::kList, "pop", nullptr},
        {MethodOwner::kList, "remove", nullptr},
        {MethodOwner::kList, "reverse", nullptr},
        {MethodOwner::kList, "sort", nullptr},
        {MethodOwner::kLoop, "changed", loop_changed},
        {MethodOwner::kLoop, "cycle", loop_cycle},
        {MethodOwner::kCycler, "next", cycler_next},
        {MethodOwner::kCycler, "reset", cycler_reset},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
