#pragma once

// Frames over plain TCP: nothing is secret and nobody proves who they are, so that no service uses
// it; tests and benchmarks compare with it. Everything runs on the thread that runs `loop`, which
// must outlive the transport, its listeners and its connections.

#include <memory>

#include <boost/asio/io_context.hpp>

#include "transport/api.h"

namespace potluck::transport {

std::unique_ptr<Transport> make_tcp_transport(boost::asio::io_context& loop);

}  // namespace potluck::transport
