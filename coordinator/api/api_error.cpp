#include "coordinator/api/api_error.h"

#include <algorithm>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace potluck::coordinator::api {

ApiError from_error(const Error& error) {
    std::string name(to_string(error.code));
    std::ranges::replace(name, ' ', '_');  // codes are for programs
    switch (error.code) {
        case ErrorCode::kInvalidArgument:
            return {400, error.message, "invalid_request_error", "", name};
        case ErrorCode::kResourceExhausted:
            return {429, error.message, "rate_limit_error", "", name};
        case ErrorCode::kPeerLost:
            return {503, error.message, "service_unavailable", "", name};
        case ErrorCode::kTimedOut:
            return {504, error.message, "timeout", "", name};
        case ErrorCode::kNotFound:
        case ErrorCode::kUnsupported:
        case ErrorCode::kCancelled:
        case ErrorCode::kCorrupt:
        case ErrorCode::kInternal:
            break;
    }
    return {500, error.message, "server_error", "", name};
}

std::string error_body(const ApiError& error) {
    namespace json = boost::json;
    const auto or_null = [](const std::string& text) {
        return text.empty() ? json::value(nullptr) : json::value(text);
    };
    return json::serialize(json::object{{"error",
                                         {{"message", error.message},
                                          {"type", error.type},
                                          {"param", or_null(error.param)},
                                          {"code", or_null(error.code)}}}});
}

}  // namespace potluck::coordinator::api
