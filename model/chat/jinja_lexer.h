#pragma once

// Splits a template into tokens, with the white space control of trim_blocks and lstrip_blocks
// already applied.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/chat/jinja_ast.h"

namespace potluck::model::chat::jinja {

enum class TokenType {
    kData,        ///< literal output
    kBlockBegin,  ///< {%
    kBlockEnd,
    kPrintBegin,  ///< {{
    kPrintEnd,
    kName,
    kString,
    kInteger,
    kReal,
    kOperator,
    kEnd,
};

struct Token {
    TokenType type = TokenType::kEnd;
    std::string text;  ///< data, name, decoded string, operator
    Value number;      ///< of kInteger and kReal
    Position position;
};

/// The last token is kEnd.
Result<std::vector<Token>> tokenize(std::string_view source);

/// Python's line ends become "\n" and the last one is dropped.
std::string normalize_source(std::string_view source);

tl::unexpected<Error> syntax_error(Position position, std::string_view message);

}  // namespace potluck::model::chat::jinja
