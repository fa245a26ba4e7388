#pragma once

// What the API says in HTTP, as text: status lines, response heads, and which path and method lead
// where. Pure; the sockets are in session.cpp.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/api/api_error.h"

namespace potluck::coordinator::api {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Reply {
    unsigned status = 200;
    std::string body;  ///< empty for 204
    Headers headers;
    std::string_view content_type = "application/json";
};

/// An error with the headers that belong to its status (Retry-After, WWW-Authenticate).
Reply error_reply(const ApiError& error);

/// How the connection goes on after a response.
struct Framing {
    bool http10 = false;  ///< the client speaks HTTP/1.0: no chunks
    bool keep_alive = true;
    bool head_only = false;  ///< HEAD: the head of the GET, no body
};

/// Head and body, ready to be sent.
std::string response_text(const Reply& reply, Framing framing);
/// The head of a stream of events; its body is chunked, or ends with the connection in HTTP/1.0.
std::string stream_head(Framing framing, const Headers& headers = {});
std::string chunk(std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

enum class Route : std::uint8_t {
    kChat,
    kCompletions,
    kModels,
    kModel,  ///< Match::argument is the id
    kHealth,
    kCluster,
    kMetrics,
    kDrain,
    kUndrain,
    kPreflight,  ///< OPTIONS of a known path
    kNotFound,
    kMethodNotAllowed,
};

struct Match {
    Route route = Route::kNotFound;
    std::string argument;
    std::string_view allow;  ///< what the path allows, for the Allow header
};

/// `target` as it came, with a query (ignored) and percent escapes.
Match match_route(std::string_view method, std::string_view target);

}  // namespace potluck::coordinator::api
