#include "transport/tcp_connection.h"

#include <fmt/core.h>

#include <array>
#include <optional>
#include <span>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>

#include "transport/address.h"
#include "transport/framing.h"

namespace potluck::transport {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

/// Pieces of one gathering write, the most that asio passes to the kernel at once.
constexpr std::size_t kGatherPieces = 64;

/// Buffers as asio wants them, in memory of the connection instead of a copied vector.
template <typename Buffer>
struct BufferView {
    const Buffer* first;
    std::size_t n;
    const Buffer* begin() const { return first; }
    const Buffer* end() const { return first + n; }
};

/// The connection itself; its pending reads and writes own it. What users hold is TcpConnection
/// below.
class Stream : public std::enable_shared_from_this<Stream> {
  public:
    Stream(tcp::socket socket, const Limits& limits, std::string peer)
        : socket_(std::move(socket)), queue_(limits), reader_(limits), peer_(std::move(peer)) {}

    Status send(std::span<const std::byte> head,
                std::span<const std::span<const std::byte>> payload, SendDone done);
    void start(std::shared_ptr<Receiver> receiver);
    void close() { fail(Error{ErrorCode::kCancelled, "closed the connection to " + peer_}); }
    const std::string& peer() const { return peer_; }

  private:
    void write();
    void on_written(const error_code& ec, std::size_t bytes);
    void read();
    void on_read(const error_code& ec, std::size_t bytes);
    void deliver();
    void fail(Error reason);
    void post_finish();
    void finish();

    tcp::socket socket_;
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

Status Stream::send(std::span<const std::byte> head,
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

/// Asio tries at once what it is asked for and calls back later, never from within.
void Stream::write() {
    std::array<std::span<const std::byte>, kGatherPieces> pieces;
    const std::size_t n = queue_.gather(pieces);
    for (std::size_t i = 0; i < n; ++i)
        write_buffers_[i] = asio::const_buffer(pieces[i].data(), pieces[i].size());
    writing_ = true;
    socket_.async_write_some(BufferView<asio::const_buffer>{write_buffers_.data(), n},
                             [self = shared_from_this()](const error_code& ec, std::size_t bytes) {
                                 self->on_written(ec, bytes);
                             });
}

void Stream::on_written(const error_code& ec, std::size_t bytes) {
    writing_ = false;
    if (closed_) return;
    if (ec) {
        Error reason{ErrorCode::kPeerLost, fmt::format("write to {}: {}", peer_, ec.message())};
        // A pending read gets what the peer said last, then the end; without one this is the end.
        if (!reading_) return fail(std::move(reason));
        write_failure_ = std::move(reason);
        error_code ignored;
        socket_.shutdown(tcp::socket::shutdown_receive, ignored);
        return;
    }
    queue_.advance(bytes);
    // Callbacks may send and close. What left whole is reported as such even then.
    while (auto done = queue_.pop_sent())
        if (*done) (*done)({});
    if (!closed_ && !writing_ && !queue_.empty()) write();
}

void Stream::start(std::shared_ptr<Receiver> receiver) {
    receiver_ = std::move(receiver);
    if (!receiver_) return;
    if (closed_) {
        post_finish();
    } else if (!reading_ && !delivering_) {
        asio::post(socket_.get_executor(), [self = shared_from_this()] {
            if (!self->reading_ && !self->delivering_) self->deliver();
        });
    }
}

void Stream::read() {
    const auto space = reader_.space();
    for (std::size_t i = 0; i < space.size(); ++i)
        read_buffers_[i] = asio::mutable_buffer(space[i].data(), space[i].size());
    const std::size_t skip = space[0].empty() ? 1 : 0;
    reading_ = true;
    socket_.async_read_some(
        BufferView<asio::mutable_buffer>{read_buffers_.data() + skip, read_buffers_.size() - skip},
        [self = shared_from_this()](const error_code& ec, std::size_t bytes) {
            self->on_read(ec, bytes);
        });
}

void Stream::on_read(const error_code& ec, std::size_t bytes) {
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
void Stream::deliver() {
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

void Stream::fail(Error reason) {
    if (closed_) return;
    closed_ = std::move(reason);
    error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
    post_finish();
}

void Stream::post_finish() {
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->finish(); });
}

/// Nothing of the queue is in the hands of the kernel any more: its frames' memory is free.
void Stream::finish() {
    while (auto done = queue_.pop())
        if (*done) (*done)(tl::make_unexpected(*closed_));
    if (const auto receiver = std::exchange(receiver_, nullptr)) receiver->on_closed(*closed_);
}

/// What users hold: letting go of it closes the connection.
class TcpConnection final : public Connection {
  public:
    explicit TcpConnection(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
    ~TcpConnection() override { stream_->close(); }
    TcpConnection(const TcpConnection&) = delete;
    TcpConnection& operator=(const TcpConnection&) = delete;

    Status send(std::span<const std::byte> head,
                std::span<const std::span<const std::byte>> payload, SendDone done) override {
        return stream_->send(head, payload, std::move(done));
    }
    void start(std::shared_ptr<Receiver> receiver) override { stream_->start(std::move(receiver)); }
    void close() override { stream_->close(); }
    std::string peer() const override { return stream_->peer(); }

  private:
    std::shared_ptr<Stream> stream_;
};

}  // namespace

std::shared_ptr<Connection> make_tcp_connection(tcp::socket socket, const Limits& limits,
                                                std::string peer) {
    error_code ignored;  // without it small frames are late, not wrong
    socket.set_option(tcp::no_delay(true), ignored);
    return std::make_shared<TcpConnection>(
        std::make_shared<Stream>(std::move(socket), limits, std::move(peer)));
}

std::string to_string(const tcp::endpoint& endpoint) {
    const std::string host = endpoint.address().to_string();
    return to_string(HostPort{host, endpoint.port()});
}

}  // namespace potluck::transport
