// Filters that walk a sequence or a mapping (jinja_tables.h).

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

Value fold_case(const Value& value) {
    const Text* text = value.as_text();
    return text == nullptr ? value : Value::string(lower(*text));
}

Result<Value> at_path(Run& run, const Value& value, const Value& path) {
    if (path.is_none()) return value;
    if (!path.is_string()) return run.item(value, path);
    Value here = value;
    const std::string dot = ".";
    for (const Text& part : split(*path.as_text(), &dot, -1)) {
        const bool number = !part.empty() && part.size() < 18 &&
                            std::all_of(part.view().begin(), part.view().end(),
                                        [](char c) { return c >= '0' && c <= '9'; });
        const Value key = number ? Value::integer(std::stoll(part.bytes())) : Value::string(part);
        POTLUCK_ASSIGN(here, run.item(here, key));
    }
    return here;
}

namespace {

Value make_iterator(std::string_view name, std::vector<Value> items) {
    return Value::object(std::make_shared<Iterator>(name, std::move(items)));
}

bool flag(const Value* argument) {
    return argument != nullptr && argument->truthy();
}
Value or_none(const Value* argument) {
    return argument != nullptr ? *argument : Value::none();
}

Result<Value> first(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("first", arguments, {}, 0));
    if (auto* iterator = value.as<Iterator>()) {
        if (iterator->next < iterator->items.size()) return iterator->items[iterator->next++];
        return Value::undefined("No first item, sequence was empty.");
    }
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    if (items.empty()) return Value::undefined("No first item, sequence was empty.");
    return items.front();
}

Result<Value> last(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("last", arguments, {}, 0));
    if (value.as<Iterator>() != nullptr) return value_error("'generator' object is not reversible");
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    if (items.empty()) return Value::undefined("No last item, sequence was empty.");
    return items.back();
}

Result<Value> join(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("join", arguments, {"d", "attribute"}, 0));
    Text separator;
    if (args[0] != nullptr) {
        POTLUCK_ASSIGN(separator, run.text_of(*args[0]));
    }
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    Text out;
    for (std::size_t i = 0; i < items.size(); ++i) {
        Value item = items[i];
        if (args[1] != nullptr) {
            POTLUCK_ASSIGN(item, at_path(run, item, *args[1]));
        }
        POTLUCK_ASSIGN(const Text text, run.text_of(item));
        if (i > 0) {
            POTLUCK_TRY(run.charge(separator.size()));
            out.append(separator);
        }
        out.append(text);
    }
    return Value::string(std::move(out));
}

Result<Value> list(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("list", arguments, {}, 0));
    POTLUCK_ASSIGN(std::vector<Value> items, run.items_of(value));
    return Value::list(std::move(items));
}

Result<Value> reverse(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("reverse", arguments, {}, 0));
    POTLUCK_ASSIGN(std::vector<Value> items, run.items_of(value));
    std::reverse(items.begin(), items.end());
    if (value.is_string()) {
        Text out;
        for (const Value& item : items)
            out.append(*item.as_text());
        return Value::string(std::move(out));
    }
    if (value.as<Iterator>() != nullptr) return Value::list(std::move(items));
    return make_iterator("reversed", std::move(items));
}

struct Keyed {
    Value key, item;
};

Status stable_sort(Run& run, std::vector<Keyed>& keyed, bool descending) {
    Status status;
    // Python's reverse=True keeps equal items in order too.
    std::stable_sort(keyed.begin(), keyed.end(), [&](const Keyed& a, const Keyed& b) {
        if (!status) return false;
        const Result<bool> before =
            descending ? run.before(b.key, a.key) : run.before(a.key, b.key);
        if (!before) status = tl::make_unexpected(before.error());
        return status && *before;
    });
    return status;
}

/// Pairs of sort key and item. `paths`: "a,b.c" sorts by several.
Result<std::vector<Keyed>> keyed_items(Run& run, const Value& value, const Value& paths,
                                       bool case_sensitive) {
    POTLUCK_ASSIGN(std::vector<Value> items, run.items_of(value));
    std::vector<Value> parts;
    if (const Text* text = paths.as_text()) {
        const std::string comma = ",";
        for (Text& part : split(*text, &comma, -1))
            parts.push_back(Value::string(std::move(part)));
    } else {
        parts.push_back(paths);
    }
    std::vector<Keyed> keyed;
    keyed.reserve(items.size());
    for (Value& item : items) {
        std::vector<Value> keys;
        for (const Value& part : parts) {
            POTLUCK_ASSIGN(Value key, at_path(run, item, part));
            keys.push_back(case_sensitive ? std::move(key) : fold_case(key));
        }
        keyed.push_back({Value::list(std::move(keys)), std::move(item)});
    }
    return keyed;
}

std::vector<Value> items_only(std::vector<Keyed> keyed) {
    std::vector<Value> items;
    items.reserve(keyed.size());
    for (Keyed& entry : keyed)
        items.push_back(std::move(entry.item));
    return items;
}

Result<Value> sort(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args,
                   bind("sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0));
    POTLUCK_ASSIGN(std::vector<Keyed> keyed,
                   keyed_items(run, value, or_none(args[2]), flag(args[1])));
    POTLUCK_TRY(stable_sort(run, keyed, flag(args[0])));
    return Value::list(items_only(std::move(keyed)));
}

Result<Value> unique(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("unique", arguments, {"case_sensitive", "attribute"}, 0));
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    Dict seen;
    std::vector<Value> kept;
    for (const Value& item : items) {
        POTLUCK_ASSIGN(Value key, at_path(run, item, or_none(args[1])));
        if (!flag(args[0])) key = fold_case(key);
        POTLUCK_ASSIGN(const Value* known, run.find(seen, key));
        if (known != nullptr) continue;
        seen.entries.emplace_back(std::move(key), Value::none());
        kept.push_back(item);
    }
    return make_iterator("unique", std::move(kept));
}

template <bool kLargest>
Result<Value> extreme(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args,
                   bind("min or max", arguments, {"case_sensitive", "attribute"}, 0));
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
    const Value* best = nullptr;
    Value best_key;
    for (const Value& item : items) {
        POTLUCK_ASSIGN(Value key, at_path(run, item, or_none(args[1])));
        if (!flag(args[0])) key = fold_case(key);
        if (best != nullptr) {
            POTLUCK_ASSIGN(const bool better,
                           kLargest ? run.before(best_key, key, ">") : run.before(key, best_key));
            if (!better) continue;
        }
        best = &item;
        best_key = std::move(key);
    }
    return *best;
}

Result<Value> sum(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("sum", arguments, {"attribute", "start"}, 0));
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    Value total = args[1] != nullptr ? *args[1] : Value::integer(0);
    if (total.is_string()) return value_error("sum() can't sum strings");
    for (const Value& item : items) {
        POTLUCK_ASSIGN(const Value part, at_path(run, item, or_none(args[0])));
        POTLUCK_ASSIGN(total, run.binary(ast::BinaryOp::kAdd, total, part));
    }
    return total;
}

Result<Value> batch(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("batch", arguments, {"linecount", "fill_with"}, 1));
    POTLUCK_ASSIGN(const std::int64_t width, need_int64(*args[0]));
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    std::vector<Value> rows;
    std::vector<Value> row;
    for (const Value& item : items) {
        if (static_cast<std::int64_t>(row.size()) == width) {
            rows.push_back(Value::list(std::exchange(row, {})));
        }
        row.push_back(item);
    }
    if (!row.empty()) {
        const bool fills = args[1] != nullptr && !args[1]->is_none();
        if (fills && width > 0) {
            POTLUCK_TRY(run.charge(static_cast<std::uint64_t>(width) * kValueWork));
            while (static_cast<std::int64_t>(row.size()) < width)
                row.push_back(*args[1]);
        }
        rows.push_back(Value::list(std::move(row)));
    }
    return make_iterator("batch", std::move(rows));
}

Result<Value> slice(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("slice", arguments, {"slices", "fill_with"}, 1));
    POTLUCK_ASSIGN(const std::int64_t wanted, need_int64(*args[0]));
    if (wanted == 0) return value_error("integer division or modulo by zero");
    const auto slices = static_cast<std::size_t>(std::max<std::int64_t>(wanted, 0));
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    POTLUCK_TRY(run.charge(slices * kValueWork));
    std::vector<Value> rows;
    std::size_t at = 0;
    for (std::size_t i = 0; i < slices; ++i) {
        const bool longer = i < items.size() % slices;
        const std::size_t size = items.size() / slices + (longer ? 1 : 0);
        const auto from = items.begin() + static_cast<std::ptrdiff_t>(at);
        std::vector<Value> row(from, from + static_cast<std::ptrdiff_t>(size));
        at += size;
        const bool fills = args[1] != nullptr && !args[1]->is_none();
        if (fills && i >= items.size() % slices) row.push_back(*args[1]);
        rows.push_back(Value::list(std::move(row)));
    }
    return make_iterator("slice", std::move(rows));
}

Result<Value> items(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_TRY(bind("items", arguments, {}, 0));
    std::vector<Value> pairs;
    if (const Dict* dict = value.as_dict()) {
        POTLUCK_TRY(run.charge(dict->entries.size() * 3 * kValueWork));
        for (const auto& [key, item] : dict->entries)
            pairs.push_back(Value::tuple({key, item}));
    } else if (!value.is_undefined()) {
        return value_error("Can only get item pairs from a mapping.");
    }
    return make_iterator("items", std::move(pairs));
}

Result<Value> dict_sort(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args,
                   bind("dictsort", arguments, {"case_sensitive", "by", "reverse"}, 0));
    bool by_value = false;
    if (args[1] != nullptr) {
        const Text* by = args[1]->as_text();
        by_value = by != nullptr && by->view() == "value";
        if (by == nullptr || (!by_value && by->view() != "key")) {
            return value_error("You can only sort by either \"key\" or \"value\"");
        }
    }
    const Dict* dict = value.as_dict();
    if (dict == nullptr) {
        return value_error(fmt::format("'{} object' has no attribute 'items'", value.type_name()));
    }
    POTLUCK_TRY(run.charge(dict->entries.size() * 3 * kValueWork));
    std::vector<Keyed> keyed;
    for (const auto& [key, item] : dict->entries) {
        const Value& by = by_value ? item : key;
        keyed.push_back({flag(args[0]) ? by : fold_case(by), Value::tuple({key, item})});
    }
    POTLUCK_TRY(stable_sort(run, keyed, flag(args[2])));
    return Value::list(items_only(std::move(keyed)));
}

Result<Value> group_by(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args,
                   bind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    std::vector<Keyed> keyed;
    for (const Value& item : items) {
        POTLUCK_ASSIGN(Value key, at_path(run, item, *args[0]));
        if (key.is_undefined() && args[1] != nullptr) key = *args[1];
        keyed.push_back({flag(args[2]) ? key : fold_case(key), item});
    }
    POTLUCK_TRY(stable_sort(run, keyed, false));
    std::vector<Value> groups;
    for (std::size_t begin = 0; begin < keyed.size();) {
        std::vector<Value> members;
        std::size_t end = begin;
        for (; end < keyed.size(); ++end) {
            POTLUCK_ASSIGN(const bool same, run.equal(keyed[end].key, keyed[begin].key));
            if (!same) break;
            members.push_back(keyed[end].item);
        }
        // The group is named by its first member, in that member's own case.
        POTLUCK_ASSIGN(Value name, at_path(run, members.front(), *args[0]));
        if (name.is_undefined() && args[1] != nullptr) name = *args[1];
        groups.push_back(
            Value::sequence({.kind = SequenceKind::kGroup,
                             .items = {std::move(name), Value::list(std::move(members))},
                             .label = {}}));
        begin = end;
    }
    return Value::list(std::move(groups));
}

}  // namespace

std::span<const FilterEntry> list_filters() {
    static constexpr auto kTable = std::to_array<FilterEntry>({
        {"batch", batch},
        {"dictsort", dict_sort},
        {"first", first},
        {"groupby", group_by},
        {"items", items},
        {"join", join},
        {"last", last},
        {"list", list},
        {"max", extreme<true>},
        {"min", extreme<false>},
        {"reverse", reverse},
        {"slice", slice},
        {"sort", sort},
        {"sum", sum},
        {"unique", unique},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
