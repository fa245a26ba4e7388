// Filters that apply another filter or test to each item (jinja_tables.h). Jinja's are lazy; these
// work at once, which shows only if an item fails that nobody would have asked for.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

/// The arguments from `from` on.
CallArguments tail(const CallArguments& arguments, std::size_t from) {
    CallArguments out;
    const auto begin = arguments.positional.begin() + static_cast<std::ptrdiff_t>(from);
    out.positional.assign(begin, arguments.positional.end());
    out.named = arguments.named;
    return out;
}

Result<Value> map_attribute(Run& run, const std::vector<Value>& items,
                            const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("map", arguments, {"attribute", "default"}, 1));
    std::vector<Value> out;
    for (const Value& item : items) {
        POTLUCK_ASSIGN(Value value, at_path(run, item, *args[0]));
        const bool replace = value.is_undefined() && args[1] != nullptr && !args[1]->is_none();
        out.push_back(replace ? *args[1] : std::move(value));
    }
    return Value::object(std::make_shared<Iterator>("map", std::move(out)));
}

Result<Value> map(Run& run, const Value& value, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    if (arguments.positional.empty()) {
        if (arguments.named.empty()) return value_error("map requires a filter argument");
        return map_attribute(run, items, arguments);
    }
    POTLUCK_ASSIGN(const Text* name, need_text("map", arguments.positional[0]));
    const FilterEntry* filter = find_filter(name->view());
    if (filter == nullptr) return value_error(fmt::format("No filter named '{}'", name->view()));
    const CallArguments rest = tail(arguments, 1);
    std::vector<Value> out;
    for (const Value& item : items) {
        POTLUCK_TRY(run.charge(kNodeWork));
        POTLUCK_ASSIGN(Value mapped, filter->apply(run, item, rest));
        out.push_back(std::move(mapped));
    }
    return Value::object(std::make_shared<Iterator>("map", std::move(out)));
}

/// Items for which the test equals `wanted`. `by_attribute`: of an attribute of each item.
template <bool kWanted, bool kByAttribute>
Result<Value> select(Run& run, const Value& value, const CallArguments& arguments) {
    constexpr std::size_t kTestAt = kByAttribute ? 1 : 0;
    if (arguments.positional.size() < kTestAt)
        return value_error("Missing parameter for attribute name");
    const TestEntry* test = nullptr;
    CallArguments rest;
    if (arguments.positional.size() > kTestAt) {
        POTLUCK_ASSIGN(const Text* name, need_text("select", arguments.positional[kTestAt]));
        test = find_test(name->view());
        if (test == nullptr) return value_error(fmt::format("No test named '{}'", name->view()));
        rest = tail(arguments, kTestAt + 1);
    }
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(value));
    std::vector<Value> kept;
    for (const Value& item : items) {
        POTLUCK_TRY(run.charge(kNodeWork));
        Value tested = item;
        if (kByAttribute) {
            POTLUCK_ASSIGN(tested, at_path(run, item, arguments.positional[0]));
        }
        bool passed = tested.truthy();
        if (test != nullptr) {
            POTLUCK_ASSIGN(passed, test->apply(run, tested, rest));
        }
        if (passed == kWanted) kept.push_back(item);
    }
    return Value::object(std::make_shared<Iterator>("select", std::move(kept)));
}

}  // namespace

std::span<const FilterEntry> select_filters() {
    static constexpr auto kTable = std::to_array<FilterEntry>({
        {"map", map},
        {"reject", select<false, false>},
        {"rejectattr", select<false, true>},
        {"select", select<true, false>},
        {"selectattr", select<true, true>},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
