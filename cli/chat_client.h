#pragma once

// A client of the cluster's own HTTP API, for `potluck chat` and `potluck status`. Synchronous: a
// call returns when the answer is complete.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/result.h"

namespace potluck::cli {

struct ChatOptions {
    std::string host = "127.0.0.1";
    std::uint16_t port = 8080;
    std::string key;               ///< of the API; empty: none is shown
    std::string model;             ///< empty: the one that is served
    boost::json::array messages;   ///< [{"role":…,"content":…}, …]
    boost::json::object sampling;  ///< further fields of the request: temperature, max_tokens, …
    /// Told how the answer ended, "stop" or "length"; may be null.
    std::function<void(std::string_view)> on_finish;
};

/// Asks for the next message and gives its text to `on_text` as it comes. kPeerLost: nobody listens
/// there, or the answer broke off; otherwise what the server said, under the code of its status.
Status stream_chat(const ChatOptions& options,
                   const std::function<void(std::string_view)>& on_text);

/// The body of GET `path`, whatever the status (/health says "not ready" with 503), unless it is
/// one of the API's errors: that becomes ours. `key`: of the API; empty: none is shown.
Result<std::string> http_get(const std::string& host, std::uint16_t port, const std::string& path,
                             const std::string& key = {});

/// The same of POST `path` with a JSON body.
Result<std::string> http_post(const std::string& host, std::uint16_t port, const std::string& path,
                              const boost::json::object& body, const std::string& key = {});

}  // namespace potluck::cli
