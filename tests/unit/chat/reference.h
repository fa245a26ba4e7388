#pragma once

// The fixtures of tests/data/chat and how tests render them.

#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "base/result.h"
#include "model/chat/template.h"

namespace potluck::model::chat::reference {

std::string read_file(const std::string& path);
/// tests/data/chat/`name`; ends the test program if it is missing.
boost::json::value load(std::string_view name);
std::string load_text(std::string_view name);

/// The moment that tools/chat/render_reference.py shows: 2024-07-26 15:04:05.
RenderOptions options();

Result<Rendered> render(std::string_view source, const boost::json::object& variables);

}  // namespace potluck::model::chat::reference
