#pragma once

#include <string_view>

#include "base/result.h"
#include "model/chat/jinja_ast.h"

namespace potluck::model::chat::jinja {

/// kCorrupt: not Jinja. kUnsupported: Jinja that this interpreter does not know.
/// kResourceExhausted: larger than a template may be.
Result<ast::Body> parse_template(std::string_view source);

}  // namespace potluck::model::chat::jinja
