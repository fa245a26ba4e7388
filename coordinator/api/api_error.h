#pragma once

// Errors as OpenAI's clients expect them: an HTTP status and a small JSON object. Only the API
// speaks of them; the rest of the house has base/result.h.

#include <chrono>
#include <string>

#include <tl/expected.hpp>

#include "base/result.h"

namespace potluck::coordinator::api {

struct ApiError {
    unsigned status = 400;
    std::string message;  ///< for people
    std::string type = "invalid_request_error";
    std::string param;                    ///< the field that is wrong; empty becomes null
    std::string code;                     ///< for programs; empty becomes null
    std::chrono::seconds retry_after{0};  ///< of 429 and 503; less than one is told as one
};

template <typename T>
using Parsed = tl::expected<T, ApiError>;

inline tl::unexpected<ApiError> refuse(ApiError e) {
    return tl::unexpected<ApiError>(std::move(e));
}

/// What a client is told when the cluster, rather than the request, decided.
ApiError from_error(const Error& error);

/// {"error":{"message","type","param","code"}}
std::string error_body(const ApiError& error);

}  // namespace potluck::coordinator::api
