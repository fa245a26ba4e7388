#pragma once

// The parts of which the tables of jinja_builtins.h are made, one per file.

#include <span>

#include "model/chat/jinja_builtins.h"

namespace potluck::model::chat::jinja {

std::span<const FilterEntry> text_filters();       // jinja_text_filters.cpp
std::span<const FilterEntry> value_filters();      // jinja_value_filters.cpp
std::span<const FilterEntry> list_filters();       // jinja_list_filters.cpp
std::span<const FilterEntry> select_filters();     // jinja_select_filters.cpp
std::span<const TestEntry> all_tests();            // jinja_tests.cpp
std::span<const FunctionEntry> all_functions();    // jinja_functions.cpp
std::span<const MethodEntry> string_methods();     // jinja_string_methods.cpp
std::span<const MethodEntry> container_methods();  // jinja_container_methods.cpp

/// What Jinja sorts and compares text by unless told to mind the case.
Value fold_case(const Value& value);
/// The value at a path such as "function.name" or an index; how map, sort, … take attributes.
Result<Value> at_path(Run& run, const Value& value, const Value& path);
/// str.replace, charged for its result.
Result<Value> replaced(Run& run, const Text& text, const Text& from, const Text& to,
                       std::int64_t limit);
enum class Padding { kLeft, kRight, kCenter };  ///< where the fill goes
/// `width` in characters; `fill` is one character.
Result<Value> padded(Run& run, const Text& text, std::int64_t width, Padding padding,
                     std::string_view fill);

}  // namespace potluck::model::chat::jinja
