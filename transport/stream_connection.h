#pragma once

// Frames on a connected stream socket, plain or TLS. Private to transport/.
//
// A Socket has get_executor, identity, shutdown_receive, close (both without errors), and
//   async_write_some(BufferView<const_buffer>, handler)
//   async_read_some(BufferView<mutable_buffer>, handler)
// which call handler(error_code, bytes) once, later, from the loop; the views' buffers stay until
// then. The handler owns the connection, and with it the socket.

#include <fmt/core.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/error_code.hpp>

#include "transport/api.h"
#include "transport/framing.h"

namespace potluck::transport {

namespace asio = boost::asio;
using boost::system::error_code;

/// Pieces of one gathering write, the most that asio passes to the kernel at once.
inline constexpr std::size_t kGatherPieces = 64;

/// Buffers as asio wants them, in memory of the connection instead of a copied vector.
template <typename Buffer>
struct BufferView {
    const Buffer* first;
    std::size_t n;
    const Buffer* begin() const { return first; }
    const Buffer* end() const { return first + n; }
};

/// The connection itself; its pending reads and writes own it. What users hold is StreamConnection
/// below.
template <typename Socket>
class Stream : public std::enable_shared_from_this<Stream<Socket>> {
  public:
    Stream(Socket socket, const Limits& limits, std::string peer)
        : socket_(std::move(socket)), queue_(limits), reader_(limits), peer_(std::move(peer)) {}

    Status send(std::span<const std::byte> head,
                std::span<const std::span<const std::byte>> payload, SendDone done);
    void start(std::shared_ptr<Receiver> receiver);
    void close() { fail(Error{ErrorCode::kCancelled, "closed the connection to " + peer_}); }
    void close(Error reason) { fail(std::move(reason)); }
    const std::string& peer() const { return peer_; }
    security::NodeIdentity identity() const { return socket_.identity(); }

  private:
    void write();
    void on_written(const error_code& ec, std::size_t bytes);
    void read();
    void on_read(const error_code& ec, std::size_t bytes);
    void deliver();
    void fail(Error reason);
    void post_finish();
    void finish();

    Socket socket_;
    SendQueue queue_;
    FrameReader reader_;
    std::string peer_;
    std::shared_ptr<Receiver> receiver_;
    std::optional<Error> closed_;         ///< set once: no I/O any more
    std::optional<Error> write_failure_;  ///< what the peer said before is still read
    bool writing_ = false;
    bool reading_ = false;
    bool delivering_ = false;
    std::array<asio::const_buffer, kGatherPieces> write_buffers_;
    std::array<asio::mutable_buffer, 2> read_buffers_;
};

template <typename Socket>
Status Stream<Socket>::send(std::span<const std::byte> head,
                            std::span<const std::span<const std::byte>> payload, SendDone done) {
    if (closed_ || write_failure_) {
        return error(ErrorCode::kPeerLost,
                     fmt::format("send to {}: the connection is closed", peer_));
    }
    if (auto pushed = queue_.push(head, payload, std::move(done)); !pushed) {
        return with_context(std::move(pushed.error()), "send to " + peer_);
    }
    if (!writing_) write();
    return {};
}

/// The socket tries at once what it is asked for and calls back later, never from within.
template <typename Socket>
void Stream<Socket>::write() {
    std::array<std::span<const std::byte>, kGatherPieces> pieces;
    const std::size_t n = queue_.gather(pieces);
    for (std::size_t i = 0; i < n; ++i)
        write_buffers_[i] = asio::const_buffer(pieces[i].data(), pieces[i].size());
    writing_ = true;
    socket_.async_write_some(
        BufferView<asio::const_buffer>{write_buffers_.data(), n},
        [self = this->shared_from_this()](const error_code& ec, std::size_t bytes) {
            self->on_written(ec, bytes);
        });
}

template <typename Socket>
void Stream<Socket>::on_written(const error_code& ec, std::size_t bytes) {
    writing_ = false;
    if (closed_) return;
    if (ec) {
        Error reason{ErrorCode::kPeerLost, fmt::format("write to {}: {}", peer_, ec.message())};
        // A pending read gets what the peer said last, then the end; without one this is the end.
        if (!reading_) return fail(std::move(reason));
        write_failure_ = std::move(reason);
        socket_.shutdown_receive();
        return;
    }
    queue_.advance(bytes);
    // Callbacks may send and close. What left whole is reported as such even then.
    while (auto done = queue_.pop_sent())
        if (*done) (*done)({});
    if (!closed_ && !writing_ && !queue_.empty()) write();
}

template <typename Socket>
void Stream<Socket>::start(std::shared_ptr<Receiver> receiver) {
    receiver_ = std::move(receiver);
    if (!receiver_) return;
    if (closed_) {
        post_finish();
    } else if (!reading_ && !delivering_) {
        asio::post(socket_.get_executor(), [self = this->shared_from_this()] {
            if (!self->reading_ && !self->delivering_) self->deliver();
        });
    }
}

template <typename Socket>
void Stream<Socket>::read() {
    const auto space = reader_.space();
    for (std::size_t i = 0; i < space.size(); ++i)
        read_buffers_[i] = asio::mutable_buffer(space[i].data(), space[i].size());
    const std::size_t skip = space[0].empty() ? 1 : 0;
    reading_ = true;
    socket_.async_read_some(
        BufferView<asio::mutable_buffer>{read_buffers_.data() + skip, read_buffers_.size() - skip},
        [self = this->shared_from_this()](const error_code& ec, std::size_t bytes) {
            self->on_read(ec, bytes);
        });
}

template <typename Socket>
void Stream<Socket>::on_read(const error_code& ec, std::size_t bytes) {
    reading_ = false;
    if (closed_) return;
    if (!ec) {
        reader_.filled(bytes);
        return deliver();
    }
    if (write_failure_) return fail(std::move(*write_failure_));
    if (ec != asio::error::eof) {
        return fail({ErrorCode::kPeerLost, fmt::format("read from {}: {}", peer_, ec.message())});
    }
    fail({ErrorCode::kPeerLost,
          fmt::format("{} closed the connection{}", peer_,
                      reader_.between_frames() ? "" : " in the middle of a frame")});
}

/// Hands out what has come, then asks for more. Stops while there is no receiver.
template <typename Socket>
void Stream<Socket>::deliver() {
    delivering_ = true;
    bool more = true;
    while (more && !closed_ && receiver_) {
        const auto receiver = receiver_;  // a callback may replace it
        auto stepped = reader_.step(*receiver);
        if (!stepped) {
            Error reason = std::move(stepped.error());
            reason.message.insert(0, fmt::format("from {}: ", peer_));
            fail(std::move(reason));
        }
        more = stepped && *stepped;
    }
    delivering_ = false;
    if (!closed_ && receiver_) read();
}

template <typename Socket>
void Stream<Socket>::fail(Error reason) {
    if (closed_) return;
    closed_ = std::move(reason);
    socket_.close();
    post_finish();
}

template <typename Socket>
void Stream<Socket>::post_finish() {
    asio::post(socket_.get_executor(), [self = this->shared_from_this()] { self->finish(); });
}

/// Nothing of the queue is in the hands of the kernel any more: its frames' memory is free.
template <typename Socket>
void Stream<Socket>::finish() {
    while (auto done = queue_.pop())
        if (*done) (*done)(tl::make_unexpected(*closed_));
    if (const auto receiver = std::exchange(receiver_, nullptr)) receiver->on_closed(*closed_);
}

/// What users hold: letting go of it closes the connection.
template <typename Socket>
class StreamConnection final : public Connection {
  public:
    explicit StreamConnection(std::shared_ptr<Stream<Socket>> stream)
        : stream_(std::move(stream)) {}
    ~StreamConnection() override { stream_->close(); }
    StreamConnection(const StreamConnection&) = delete;
    StreamConnection& operator=(const StreamConnection&) = delete;

    Status send(std::span<const std::byte> head,
                std::span<const std::span<const std::byte>> payload, SendDone done) override {
        return stream_->send(head, payload, std::move(done));
    }
    void start(std::shared_ptr<Receiver> receiver) override { stream_->start(std::move(receiver)); }
    void close() override { stream_->close(); }
    std::string peer() const override { return stream_->peer(); }
    security::NodeIdentity identity() const override { return stream_->identity(); }

  private:
    std::shared_ptr<Stream<Socket>> stream_;
};

template <typename Socket>
std::shared_ptr<Connection> make_stream_connection(std::shared_ptr<Stream<Socket>> stream) {
    return std::make_shared<StreamConnection<Socket>>(std::move(stream));
}

template <typename Socket>
std::shared_ptr<Connection> make_stream_connection(Socket socket, const Limits& limits,
                                                   std::string peer) {
    return make_stream_connection(
        std::make_shared<Stream<Socket>>(std::move(socket), limits, std::move(peer)));
}

}  // namespace potluck::transport
