#pragma once

// Serves objects on WEIGHTS connections: what coordinator and workers have in common. Reading and
// hashing are done by one thread of its own, sending by the loop. Connections take turns; each has
// at most kSessionBuffers chunks in memory.
//
// Thread: the loop's, except for the holder, which is called on the server's thread alone.

#include <cstdint>
#include <memory>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "links/control_link.h"
#include "weights/holder.h"

namespace potluck::weights {

inline constexpr std::size_t kSessionBuffers = 4;
inline constexpr std::size_t kMaxServed = 64;  ///< connections at once

struct ServerOptions {
    std::uint64_t bytes_per_second = 0;  ///< over all connections; 0: as fast as it goes
};

class Server {
  public:
    Server(boost::asio::io_context& loop, std::unique_ptr<Holder> holder,
           const ServerOptions& options);
    ~Server();  ///< waits for the read under way; hashing is stopped
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// A link whose Hello was for weights, and whose sender may have them: answers and serves it.
    void welcome(const std::shared_ptr<links::ControlLink>& link);

  private:
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

}  // namespace potluck::weights
