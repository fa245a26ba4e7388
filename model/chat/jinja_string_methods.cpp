// Methods of strings (jinja_tables.h), as Python's str.

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "model/chat/jinja_format.h"
#include "model/chat/jinja_run.h"
#include "model/chat/jinja_tables.h"

namespace potluck::model::chat::jinja {

namespace {

const Text& text_of_self(const Value& self) {
    return *self.as_text();
}

template <Text (*kMap)(const Text&)>
Result<Value> map_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_TRY(bind("str method", arguments, {}, 0));
    POTLUCK_TRY(run.charge(text_of_self(self).size() * kCharacterWork));
    return Value::string(kMap(text_of_self(self)));
}

template <Side kSide>
Result<Value> strip_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("strip", arguments, {""}, 0));
    POTLUCK_TRY(run.charge_walk(self));
    if (args[0] == nullptr || args[0]->is_none()) {
        return Value::string(strip(text_of_self(self), kSide));
    }
    POTLUCK_ASSIGN(const Text* characters, need_text("strip", *args[0]));
    return Value::string(strip(text_of_self(self), kSide, &characters->bytes()));
}

Value list_of(std::vector<Text> texts) {
    std::vector<Value> items;
    items.reserve(texts.size());
    for (Text& text : texts)
        items.push_back(Value::string(std::move(text)));
    return Value::list(std::move(items));
}

template <std::vector<Text> (*kSplit)(const Text&, const std::string*, std::int64_t)>
Result<Value> split_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("split", arguments, {"sep", "maxsplit"}, 0));
    std::int64_t limit = -1;
    if (args[1] != nullptr) {
        POTLUCK_ASSIGN(limit, need_int64(*args[1]));
    }
    const Text* separator = nullptr;
    if (args[0] != nullptr && !args[0]->is_none()) {
        POTLUCK_ASSIGN(separator, need_text("split", *args[0]));
        if (separator->empty()) return value_error("empty separator");
    }
    const Text& text = text_of_self(self);
    // A part for every other byte at worst; the usual part is long.
    POTLUCK_TRY(run.charge(text.size() * 2));
    std::vector<Text> parts =
        kSplit(text, separator == nullptr ? nullptr : &separator->bytes(), limit);
    POTLUCK_TRY(run.charge(parts.size() * kValueWork * 3));
    return list_of(std::move(parts));
}

Result<Value> split_lines_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("splitlines", arguments, {"keepends"}, 0));
    POTLUCK_TRY(run.charge(text_of_self(self).size() * 2));
    const bool keep = args[0] != nullptr && args[0]->truthy();
    std::vector<Text> lines = split_lines(text_of_self(self), keep);
    POTLUCK_TRY(run.charge(lines.size() * kValueWork * 3));
    return list_of(std::move(lines));
}

/// The bytes that optional start and end arguments (in characters) select.
struct Window {
    std::size_t begin = 0, end = 0;
    bool valid = true;  ///< false: start is beyond the end, where not even "" is found
};
Result<Window> window(const Text& text, const Value* start, const Value* end) {
    const bool has_start = start != nullptr && !start->is_none();
    const bool has_end = end != nullptr && !end->is_none();
    if (!has_start && !has_end) return Window{0, text.size(), true};
    const auto offsets = code_point_offsets(text.view());
    const auto count = static_cast<std::int64_t>(offsets.size()) - 1;
    const auto place = [count](std::int64_t at) {
        return std::max<std::int64_t>(at < 0 ? at + count : at, 0);
    };
    std::int64_t from = 0;
    std::int64_t to = count;
    if (has_start) {
        POTLUCK_ASSIGN(from, need_int64(*start));
    }
    if (has_end) {
        POTLUCK_ASSIGN(to, need_int64(*end));
    }
    from = place(from);
    to = std::min(place(to), count);
    if (from > to) return Window{0, 0, false};
    return Window{offsets[static_cast<std::size_t>(from)], offsets[static_cast<std::size_t>(to)],
                  true};
}

template <bool kAtEnd>
Result<Value> has_affix(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("startswith or endswith", arguments, {"", "", ""}, 1));
    const Text& text = text_of_self(self);
    if (args[1] != nullptr) POTLUCK_TRY(run.charge(text.size()));
    POTLUCK_ASSIGN(const Window part, window(text, args[1], args[2]));
    const std::string_view view = text.view().substr(part.begin, part.end - part.begin);
    std::vector<Value> candidates{*args[0]};
    if (const Sequence* tuple = args[0]->as_sequence();
        tuple != nullptr && tuple->kind == SequenceKind::kTuple) {
        candidates = tuple->items;
    }
    for (const Value& candidate : candidates) {
        POTLUCK_ASSIGN(const Text* affix, need_text("startswith or endswith", candidate));
        POTLUCK_TRY(run.charge(affix->size() + 1));
        const bool found = kAtEnd ? view.ends_with(affix->view()) : view.starts_with(affix->view());
        if (part.valid && found) return Value::boolean(true);
    }
    return Value::boolean(false);
}

enum class Search { kFind, kRightFind, kIndex, kRightIndex };

template <Search kSearch>
Result<Value> find_self(Run& run, const Value& self, const CallArguments& arguments) {
    constexpr bool kRight = kSearch == Search::kRightFind || kSearch == Search::kRightIndex;
    constexpr bool kRaises = kSearch == Search::kIndex || kSearch == Search::kRightIndex;
    POTLUCK_ASSIGN(const Bound args, bind("find", arguments, {"", "", ""}, 1));
    POTLUCK_ASSIGN(const Text* wanted, need_text("find", *args[0]));
    const Text& text = text_of_self(self);
    POTLUCK_TRY(run.charge(text.size()));
    POTLUCK_ASSIGN(const Window part, window(text, args[1], args[2]));
    const std::string_view view = text.view().substr(part.begin, part.end - part.begin);
    const std::size_t hit = kRight ? view.rfind(wanted->view()) : view.find(wanted->view());
    if (!part.valid || hit == std::string_view::npos) {
        if (kRaises) return value_error("substring not found");
        return Value::integer(-1);
    }
    return Value::size(count_code_points(text.view().substr(0, part.begin + hit)));
}

Result<Value> count_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("count", arguments, {"", "", ""}, 1));
    POTLUCK_ASSIGN(const Text* wanted, need_text("count", *args[0]));
    const Text& text = text_of_self(self);
    POTLUCK_TRY(run.charge(text.size()));
    POTLUCK_ASSIGN(const Window part, window(text, args[1], args[2]));
    if (!part.valid) return Value::integer(0);
    const std::string_view view = text.view().substr(part.begin, part.end - part.begin);
    if (wanted->empty()) return Value::size(count_code_points(view) + 1);
    std::size_t hits = 0;
    for (std::size_t at = view.find(wanted->view()); at != std::string_view::npos;
         at = view.find(wanted->view(), at + wanted->size())) {
        ++hits;
    }
    return Value::size(hits);
}

Result<Value> replace_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("replace", arguments, {"", "", ""}, 2));
    POTLUCK_ASSIGN(const Text* from, need_text("replace", *args[0]));
    POTLUCK_ASSIGN(const Text* to, need_text("replace", *args[1]));
    std::int64_t limit = -1;
    if (args[2] != nullptr) {
        POTLUCK_ASSIGN(limit, need_int64(*args[2]));
    }
    return replaced(run, text_of_self(self), *from, *to, limit);
}

Result<Value> join_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("join", arguments, {""}, 1));
    if (args[0]->is_undefined()) return Value::string(std::string_view());
    POTLUCK_ASSIGN(const std::vector<Value> items, run.items_of(*args[0]));
    Text out;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const Text* text = items[i].as_text();
        if (text == nullptr) {
            return value_error(fmt::format("sequence item {}: expected str instance, {} found", i,
                                           items[i].type_name()));
        }
        POTLUCK_TRY(run.charge(text->size() + text_of_self(self).size()));
        if (i > 0) out.append(text_of_self(self));
        out.append(*text);
    }
    return Value::string(std::move(out));
}

Result<Value> format_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(Text out, format_braces(run, text_of_self(self), arguments));
    return Value::string(std::move(out));
}

template <Padding kPadding>
Result<Value> pad_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("ljust, rjust or center", arguments, {"", ""}, 1));
    POTLUCK_ASSIGN(const std::int64_t width, need_int64(*args[0]));
    if (args[1] == nullptr) return padded(run, text_of_self(self), width, kPadding, " ");
    POTLUCK_ASSIGN(const Text* fill, need_text("ljust, rjust or center", *args[1]));
    if (count_code_points(fill->view()) != 1) {
        return value_error("The fill character must be exactly one character long");
    }
    return padded(run, text_of_self(self), width, kPadding, fill->view());
}

Result<Value> zero_fill(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("zfill", arguments, {""}, 1));
    POTLUCK_ASSIGN(const std::int64_t width, need_int64(*args[0]));
    const Text& text = text_of_self(self);
    const bool sign = !text.empty() && (text.view()[0] == '-' || text.view()[0] == '+');
    if (!sign) return padded(run, text, width, Padding::kLeft, "0");
    const std::int64_t rest = width <= 0 ? 0 : width - 1;
    POTLUCK_ASSIGN(const Value digits,
                   padded(run, text.slice(1, text.size()), rest, Padding::kLeft, "0"));
    Text out = text.slice(0, 1);
    out.append(*digits.as_text());
    return Value::string(std::move(out));
}

template <bool kRight>
Result<Value> partition_self(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("partition", arguments, {""}, 1));
    POTLUCK_ASSIGN(const Text* separator, need_text("partition", *args[0]));
    if (separator->empty()) return value_error("empty separator");
    const Text& text = text_of_self(self);
    POTLUCK_TRY(run.charge(text.size()));
    const std::size_t hit =
        kRight ? text.view().rfind(separator->view()) : text.view().find(separator->view());
    const Value empty = Value::string(std::string_view());
    if (hit == std::string_view::npos) {
        return kRight ? Value::tuple({empty, empty, self}) : Value::tuple({self, empty, empty});
    }
    const std::size_t after = hit + separator->size();
    return Value::tuple({Value::string(text.slice(0, hit)), Value::string(text.slice(hit, after)),
                         Value::string(text.slice(after, text.size()))});
}

template <bool kAtEnd>
Result<Value> remove_affix(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const Bound args, bind("removeprefix or removesuffix", arguments, {""}, 1));
    POTLUCK_ASSIGN(const Text* affix, need_text("removeprefix or removesuffix", *args[0]));
    const Text& text = text_of_self(self);
    POTLUCK_TRY(run.charge(text.size()));
    if (!kAtEnd && text.view().starts_with(affix->view())) {
        return Value::string(text.slice(affix->size(), text.size()));
    }
    if (kAtEnd && text.view().ends_with(affix->view())) {
        return Value::string(text.slice(0, text.size() - affix->size()));
    }
    return self;
}

using Predicate = bool (*)(std::uint32_t);

bool is_alnum(std::uint32_t c) {
    return is_alpha(c) || is_digit(c);
}

/// Not empty and all characters fit.
template <Predicate kPredicate>
Result<Value> all_are(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_TRY(bind("str method", arguments, {}, 0));
    POTLUCK_TRY(run.charge_walk(self));
    const std::string_view text = text_of_self(self).view();
    for (std::size_t at = 0; at < text.size();) {
        const CodePoint c = code_point_at(text, at);
        if (!kPredicate(c.value)) return Value::boolean(false);
        at += c.size;
    }
    return Value::boolean(!text.empty());
}

template <bool kUpper>
Result<Value> case_is(Run& run, const Value& self, const CallArguments& arguments) {
    POTLUCK_ASSIGN(const bool passed,
                   find_test(kUpper ? "upper" : "lower")->apply(run, self, arguments));
    return Value::boolean(passed);
}

}  // namespace

std::span<const MethodEntry> string_methods() {
    static constexpr MethodOwner kString = MethodOwner::kString;
    static constexpr auto kTable = std::to_array<MethodEntry>({
        {kString, "capitalize", map_self<capitalize>},
        {kString, "casefold", map_self<lower>},
        {kString, "center", pad_self<Padding::kCenter>},
        {kString, "count", count_self},
        {kString, "endswith", has_affix<true>},
        {kString, "find", find_self<Search::kFind>},
        {kString, "format", format_self},
        {kString, "index", find_self<Search::kIndex>},
        {kString, "isalnum", all_are<is_alnum>},
        {kString, "isalpha", all_are<is_alpha>},
        {kString, "isdecimal", all_are<is_digit>},
        {kString, "isdigit", all_are<is_digit>},
        {kString, "islower", case_is<false>},
        {kString, "isnumeric", all_are<is_digit>},
        {kString, "isspace", all_are<is_space>},
        {kString, "isupper", case_is<true>},
        {kString, "join", join_self},
        {kString, "ljust", pad_self<Padding::kRight>},
        {kString, "lower", map_self<lower>},
        {kString, "lstrip", strip_self<Side::kLeft>},
        {kString, "partition", partition_self<false>},
        {kString, "removeprefix", remove_affix<false>},
        {kString, "removesuffix", remove_affix<true>},
        {kString, "replace", replace_self},
        {kString, "rfind", find_self<Search::kRightFind>},
        {kString, "rindex", find_self<Search::kRightIndex>},
        {kString, "rjust", pad_self<Padding::kLeft>},
        {kString, "rpartition", partition_self<true>},
        {kString, "rsplit", split_self<split_right>},
        {kString, "rstrip", strip_self<Side::kRight>},
        {kString, "split", split_self<split>},
        {kString, "splitlines", split_lines_self},
        {kString, "startswith", has_affix<false>},
        {kString, "strip", strip_self<Side::kBoth>},
        {kString, "swapcase", map_self<swapcase>},
        {kString, "title", map_self<title>},
        {kString, "upper", map_self<upper>},
        {kString, "zfill", zero_fill},
    });
    return kTable;
}

}  // namespace potluck::model::chat::jinja
