#pragma once

// One HTTP connection. Only session.cpp and server.cpp see sockets.

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_set>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "coordinator/api/backend.h"
#include "coordinator/api/byte_budget.h"
#include "coordinator/api/key_table.h"
#include "coordinator/api/server.h"
#include "coordinator/api/service_pool.h"

namespace potluck::coordinator::api {

/// A connection that can be ended from outside.
class Connection {
  public:
    virtual ~Connection() = default;
    virtual void close() = 0;
};

/// What the connections of one server share. Owned by the server and by every connection.
struct ServerContext {
    ServerContext(boost::asio::io_context& io, Backend& served, ApiOptions chosen)
        : loop(io),
          backend(served),
          options(std::move(chosen)),
          bodies(options.max_total_body_bytes),
          pool(options.pool_threads, options.max_pool_jobs) {}

    boost::asio::io_context& loop;
    Backend& backend;  ///< not touched after stop(): every connection is closed by then
    const ApiOptions options;
    /// Each removes itself when it closes.
    std::unordered_set<std::shared_ptr<Connection>> connections;
    KeyTable keys;      ///< without meaning where options.keys_file is empty: nobody needs one
    ByteBudget bodies;  ///< of all requests; jobs of the pool hold shares of it
    ServicePool pool;
};

/// Serves `socket` until either side closes it.
void serve_connection(std::shared_ptr<ServerContext> context, boost::asio::ip::tcp::socket socket);

}  // namespace potluck::coordinator::api
