#pragma once

// Python's text formatting, as far as templates use it.

#include <chrono>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/chat/jinja_builtins.h"
#include "model/chat/jinja_text.h"
#include "model/chat/jinja_value.h"

namespace potluck::model::chat::jinja {

/// 'format' % arguments.
Result<Text> format_percent(Run& run, const Text& format, const Value& arguments);
/// 'format'.format(arguments); {} {0} {name} without a format specification.
Result<Text> format_braces(Run& run, const Text& format, const CallArguments& arguments);
/// datetime.strftime in the C locale. `local` is seconds of local time.
Result<std::string> format_time(std::string_view format, std::chrono::sys_seconds local,
                                std::chrono::seconds utc_offset);

}  // namespace potluck::model::chat::jinja
