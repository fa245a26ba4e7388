#pragma once

// The HTTP server of the coordinator: an OpenAI-compatible API in front of a Backend. It lives on
// the coordinator's loop and never blocks it; docs/api.md describes what clients see.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "coordinator/api/backend.h"
#include "coordinator/core/admission.h"

namespace boost::asio {
class io_context;
}

namespace potluck::coordinator {

struct ApiOptions {
    /// "host:port"; port 0: any free one. Without keys only a loopback host: 127.0.0.1, [::1] or
    /// localhost.
    std::string address = "127.0.0.1:8080";
    /// Who may use it (coordinator/api/keys.h), read again when it changes; empty: everybody who
    /// reaches the address.
    std::string keys_file;
    bool insecure_no_keys = false;                             ///< any address without keys
    bool share_prefixes = false;                               ///< all keys are one tenant
    std::size_t max_body_bytes = std::size_t{16} << 20;        ///< 413 beyond
    std::size_t max_total_body_bytes = std::size_t{64} << 20;  ///< of all requests: 503 beyond
    std::size_t max_header_bytes = std::size_t{16} << 10;      ///< 431 beyond
    std::size_t max_connections = 256;                         ///< 503 beyond
    std::size_t max_buffered_bytes = std::size_t{4} << 20;     ///< of a stream that is not read
    std::size_t pool_threads = 2;                           ///< for parsing, templates, tokenising
    std::size_t max_pool_jobs = 64;                         ///< 429 beyond
    std::chrono::milliseconds idle_timeout{75'000};         ///< between requests: closed
    std::chrono::milliseconds header_timeout{10'000};       ///< 408
    std::chrono::milliseconds body_timeout{60'000};         ///< 408
    std::chrono::milliseconds write_timeout{60'000};        ///< no byte taken for so long: closed
    std::chrono::milliseconds keep_alive_interval{15'000};  ///< comments in a silent stream
    std::chrono::milliseconds queue_timeout{600'000};       ///< until the first token: 429; 0: none
    std::chrono::milliseconds request_timeout{0};           ///< until the last one: 504; 0: none
    std::chrono::milliseconds keys_interval{1'000};         ///< between looks at the keys file
    /// Time of limits, unix seconds and random bits; null: the system's.
    std::function<AdmissionTime()> now;
    std::function<std::int64_t()> unix_now;
    std::function<std::uint64_t()> random;
};

/// Listens from start() to stop(). Loop thread only. `loop` and `backend` must outlive it.
class ApiServer {
  public:
    /// kInvalidArgument: an address that is malformed, or not loopback without keys; a keys file
    /// that cannot be used. kNotFound: no keys file. kResourceExhausted: the port is taken.
    static Result<std::unique_ptr<ApiServer>> start(boost::asio::io_context& loop, Backend& backend,
                                                    ApiOptions options);
    ~ApiServer();  ///< stops

    std::uint16_t port() const;
    const std::string& url() const;  ///< "http://127.0.0.1:8080"
    std::size_t body_bytes() const;  ///< held now, of all requests
    /// Reads the keys file again, even if it looks as before; what is wrong with it is logged.
    void reload_keys();
    /// Closes every connection, cancels what they asked for, and never calls the backend again.
    void stop();

  private:
    struct Impl;
    explicit ApiServer(std::shared_ptr<Impl> impl);
    std::shared_ptr<Impl> impl_;
};

}  // namespace potluck::coordinator
