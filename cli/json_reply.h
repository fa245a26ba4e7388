#pragma once

// Reading what a running cluster answered.

#include <string>

#include <boost/json.hpp>

#include "base/result.h"

namespace potluck::cli {

/// An object with the member `needs`; kCorrupt if it is something else: another server answered.
/// An error of `body` is handed on.
Result<boost::json::value> read_reply(const Result<std::string>& body, const char* needs);

/// Null if `value` is no object or has no such member.
const boost::json::value* member(const boost::json::value& value, const char* name);
/// Members of these kinds; empty, 0 or an empty list if they are not there.
std::string text(const boost::json::value& value, const char* name);
double number(const boost::json::value& value, const char* name);
const boost::json::array& list(const boost::json::value& value, const char* name);

}  // namespace potluck::cli
