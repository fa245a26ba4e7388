#include "transport/tcp.h"

#include <utility>

#include <boost/asio/ip/tcp.hpp>

#include "transport/sockets.h"
#include "transport/stream_connection.h"

namespace potluck::transport {
namespace {

using asio::ip::tcp;

class PlainSocket {
  public:
    explicit PlainSocket(tcp::socket socket) : socket_(std::move(socket)) {
        error_code ignored;  // without it small frames are late, not wrong
        socket_.set_option(tcp::no_delay(true), ignored);
    }
    auto get_executor() { return socket_.get_executor(); }
    security::NodeIdentity identity() const { return {}; }
    template <typename Handler>
    void async_write_some(const BufferView<asio::const_buffer>& from, Handler done) {
        socket_.async_write_some(from, std::move(done));
    }
    template <typename Handler>
    void async_read_some(const BufferView<asio::mutable_buffer>& to, Handler done) {
        socket_.async_read_some(to, std::move(done));
    }
    void shutdown_receive() {
        error_code ignored;
        socket_.shutdown(tcp::socket::shutdown_receive, ignored);
    }
    void close() {
        error_code ignored;
        socket_.shutdown(tcp::socket::shutdown_both, ignored);
        socket_.close(ignored);
    }

  private:
    tcp::socket socket_;
};

void upgrade(tcp::socket socket, const Limits& limits, std::string peer, const DialHandler& done) {
    done(make_stream_connection(PlainSocket(std::move(socket)), limits, std::move(peer)));
}

}  // namespace

std::unique_ptr<Transport> make_tcp_transport(asio::io_context& loop) {
    return make_socket_transport(loop, upgrade, upgrade);
}

}  // namespace potluck::transport
