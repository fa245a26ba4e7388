#pragma once

// What keys and their limits say of one connection's requests, one after another. Loop thread only;
// no sockets.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "coordinator/api/api_error.h"
#include "coordinator/api/http_text.h"
#include "coordinator/api/key_table.h"
#include "coordinator/api/prepare.h"
#include "coordinator/api/server.h"

namespace potluck::coordinator::api {

class Gate {
  public:
    /// All must outlive it.
    Gate(const ApiOptions& options, const KeyTable& keys, const Backend& backend)
        : options_(options), keys_(keys), backend_(backend) {}

    /// A new request: who asks, from its one `Authorization` header (nothing if there is none;
    /// `headers` is how many there were). 401 where a key is needed and there is no good one.
    Parsed<void> authorize(Route route, std::size_t headers, std::string_view authorization);
    /// For what changes the cluster: 403 for a key that may not, and for pages of other sites,
    /// whose browsers say so with an `Origin` (without keys every page that somebody here looks at
    /// could ask).
    Parsed<void> administrate(bool from_page) const;
    /// Takes the request in among those of its key, until leave(). 429 beyond a limit.
    Parsed<void> enter();
    /// Says whose the request is and holds it to what its key allows: 400 or 429 beyond.
    Parsed<void> take_in(PreparedRequest& prepared);
    /// Tokens that were made for it.
    void charge(std::uint64_t tokens);
    /// The request has its answer, or never gets one. Nothing is known of who asked any more.
    void leave();

    /// Until the first token; nothing: for ever.
    std::optional<std::chrono::milliseconds> queue_timeout() const;
    /// The key's limits as headers of a response.
    Headers headers() const;

  private:
    ApiError refusal(const KeyRefusal& why) const;

    const ApiOptions& options_;
    const KeyTable& keys_;
    const Backend& backend_;
    std::shared_ptr<KeyHolder> holder_;  ///< null: no key is needed
    bool entered_ = false;
};

}  // namespace potluck::coordinator::api
