#pragma once

// A TCP socket with TLS on it, as stream_connection.h wants it, and the handshake that makes one.
// Private to transport/.

#include <memory>
#include <string>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>

#include "security/identity.h"
#include "transport/stream_connection.h"
#include "transport/tls_engine.h"

namespace potluck::transport {

class TlsSocket {
  public:
    using tcp = asio::ip::tcp;

    TlsSocket(tcp::socket socket, TlsEngine engine)
        : socket_(std::move(socket)), engine_(std::move(engine)) {
        error_code ignored;  // without it small frames are late, not wrong
        socket_.set_option(tcp::no_delay(true), ignored);
    }
    auto get_executor() { return socket_.get_executor(); }
    TlsEngine& engine() { return engine_; }
    security::NodeIdentity identity() const { return identity_; }
    void set_identity(security::NodeIdentity identity) { identity_ = std::move(identity); }

    /// `done` comes when the records of what was taken are with the kernel.
    template <typename Handler>
    void async_write_some(const BufferView<asio::const_buffer>& from, Handler done) {
        error_code ec;
        const std::size_t taken = engine_.encrypt(from, ec);
        if (ec) return later(std::move(done), ec, 0);
        flush(taken, std::move(done));
    }
    template <typename Handler>
    void async_read_some(const BufferView<asio::mutable_buffer>& to, Handler done) {
        error_code ec;
        const std::size_t filled = engine_.decrypt(to, ec);
        if (filled > 0 || ec) return later(std::move(done), ec, filled);
        receive(to, std::move(done));
    }
    /// Sends all of outgoing(), which is not empty; then done({}, bytes).
    template <typename Handler>
    void flush(std::size_t bytes, Handler done) {
        const auto out = engine_.outgoing();
        socket_.async_write_some(
            asio::const_buffer(out.data(), out.size()),
            [this, bytes, done = std::move(done)](const error_code& ec, std::size_t n) mutable {
                if (ec) return done(ec, 0);
                engine_.sent(n);
                if (engine_.outgoing().empty()) return done(ec, bytes);
                flush(bytes, std::move(done));
            });
    }
    /// Takes in what comes next; then done(error, bytes).
    template <typename Handler>
    void fill(Handler done) {
        const auto in = engine_.incoming();
        socket_.async_read_some(
            asio::mutable_buffer(in.data(), in.size()),
            [this, done = std::move(done)](const error_code& ec, std::size_t n) mutable {
                engine_.received(n);
                done(ec, n);
            });
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
    template <typename Handler>
    void receive(const BufferView<asio::mutable_buffer>& to, Handler done) {
        fill([this, to, done = std::move(done)](error_code ec, std::size_t) mutable {
            if (ec) return done(ec, 0);
            const std::size_t filled = engine_.decrypt(to, ec);
            if (filled > 0 || ec) return done(ec, filled);
            receive(to, std::move(done));  // not a whole record yet
        });
    }
    template <typename Handler>
    void later(Handler done, const error_code& ec, std::size_t bytes) {
        asio::post(socket_.get_executor(),
                   [done = std::move(done), ec, bytes]() mutable { done(ec, bytes); });
    }

    tcp::socket socket_;
    TlsEngine engine_;
    security::NodeIdentity identity_;
};

}  // namespace potluck::transport
