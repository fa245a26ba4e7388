#pragma once

// One TCP connection as a Connection. Private to tcp*.cpp, the only files that see asio.

#include <memory>
#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "transport/api.h"

namespace potluck::transport {

/// Takes over a connected socket.
std::shared_ptr<Connection> make_tcp_connection(boost::asio::ip::tcp::socket socket,
                                                const Limits& limits, std::string peer);

/// Of an endpoint, as "host:port".
std::string to_string(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace potluck::transport
