#pragma once

// What all transports on sockets share: listening, accepting, resolving, connecting. What becomes
// of a connected socket is their user's. Private to transport/.

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "transport/api.h"

namespace potluck::transport {

/// Makes a connection of a connected socket and calls the handler once, now or later; an accepted
/// one that comes to nothing needs no call. An error names the peer.
using Upgrade =
    std::function<void(boost::asio::ip::tcp::socket, const Limits&, std::string peer, DialHandler)>;

std::unique_ptr<Transport> make_socket_transport(boost::asio::io_context& loop, Upgrade accepted,
                                                 Upgrade dialled);

/// Of an endpoint, as "host:port".
std::string to_string(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace potluck::transport
