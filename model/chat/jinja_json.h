#pragma once

// JSON in and out of templates.

#include <string>

#include <boost/json/value.hpp>

#include "base/result.h"
#include "model/chat/jinja_value.h"

namespace potluck::model::chat::jinja {

/// `from_input`: all strings in it, keys too, are marked.
Result<Value> from_json(const boost::json::value& json, bool from_input);

/// The parameters of Python's json.dumps that templates use.
struct JsonStyle {
    bool ensure_ascii = false;
    bool sort_keys = false;
    bool pretty = false;  ///< line breaks, each level indented by `indent`
    std::string indent;
    std::string item_separator = ", ";
    std::string key_separator = ": ";
};
/// As json.dumps. The whole result counts as input if any string in it does.
Result<Text> to_json(const Value& value, const JsonStyle& style);

}  // namespace potluck::model::chat::jinja
