#include "transport/sockets.h"

#include <fmt/core.h>

#include <exception>
#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/log.h"
#include "transport/address.h"

namespace potluck::transport {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

/// How long a listener that lacks a resource (descriptors, memory) waits before it accepts again.
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

class Acceptor : public std::enable_shared_from_this<Acceptor> {
  public:
    Acceptor(tcp::acceptor acceptor, std::string address, const Limits& limits, Upgrade upgrade,
             AcceptHandler on_accept)
        : acceptor_(std::move(acceptor)),
          retry_(acceptor_.get_executor()),
          address_(std::move(address)),
          limits_(limits),
          upgrade_(std::move(upgrade)),
          on_accept_(std::move(on_accept)) {}

    void accept() {
        acceptor_.async_accept(
            [self = shared_from_this()](const error_code& ec, tcp::socket socket) {
                self->on_socket(ec, std::move(socket));
            });
    }
    void close() {
        closed_ = true;
        error_code ignored;
        acceptor_.close(ignored);
        retry_.cancel();
    }
    const std::string& address() const { return address_; }

  private:
    void on_socket(const error_code& ec, tcp::socket socket) {
        if (closed_) return;
        if (!ec) {
            hand_over(std::move(socket));
        } else if (ec != asio::error::connection_aborted) {
            log::warning("listener {}: {}; trying again", address_, ec.message());
            return accept_later();
        }
        if (!closed_) accept();  // the handler may have closed us
    }
    void hand_over(tcp::socket socket) {
        error_code gone;
        const auto peer = socket.remote_endpoint(gone);
        if (gone) return;  // it hung up before we looked
        upgrade_(std::move(socket), limits_, to_string(peer),
                 [self = shared_from_this()](Result<std::shared_ptr<Connection>> made) {
                     if (made && !self->closed_) self->on_accept_(std::move(*made));
                 });
    }
    void accept_later() {
        retry_.expires_after(kAcceptRetry);
        retry_.async_wait([self = shared_from_this()](const error_code&) {
            if (!self->closed_) self->accept();
        });
    }

    tcp::acceptor acceptor_;
    asio::steady_timer retry_;
    std::string address_;
    Limits limits_;
    Upgrade upgrade_;
    AcceptHandler on_accept_;
    bool closed_ = false;
};

class TcpListener final : public Listener {
  public:
    explicit TcpListener(std::shared_ptr<Acceptor> acceptor) : acceptor_(std::move(acceptor)) {}
    ~TcpListener() override { acceptor_->close(); }
    TcpListener(const TcpListener&) = delete;
    TcpListener& operator=(const TcpListener&) = delete;
    std::string address() const override { return acceptor_->address(); }
    void close() override { acceptor_->close(); }

  private:
    std::shared_ptr<Acceptor> acceptor_;
};

/// One attempt to connect: resolve, try each address, give up when the time is over. Calls back
/// once.
class Dial : public std::enable_shared_from_this<Dial> {
  public:
    Dial(asio::io_context& loop, std::string address, const Limits& limits, Upgrade upgrade,
         DialHandler on_done)
        : resolver_(loop),
          socket_(loop),
          timer_(loop),
          address_(std::move(address)),
          limits_(limits),
          upgrade_(std::move(upgrade)),
          on_done_(std::move(on_done)) {}

    void begin(std::chrono::milliseconds timeout) {
        timer_.expires_after(timeout);
        timer_.async_wait([self = shared_from_this(), timeout](const error_code& ec) {
            if (ec) return;
            self->end(error(ErrorCode::kTimedOut, fmt::format("dial {}: no answer within {} ms",
                                                              self->address_, timeout.count())));
        });
        const auto parsed = parse_address(address_);
        if (!parsed) return end_later(parsed.error());
        error_code named;
        const auto numeric = asio::ip::make_address(parsed->host, named);
        if (!named) {
            const tcp::endpoint endpoint(numeric, parsed->port);
            return connect(tcp::resolver::results_type::create(endpoint, parsed->host, ""));
        }
        resolver_.async_resolve(
            parsed->host, std::to_string(parsed->port),
            [self = shared_from_this()](const error_code& ec, tcp::resolver::results_type found) {
                if (self->ended_) return;
                if (ec) return self->end(self->refused(ErrorCode::kNotFound, ec));
                self->connect(std::move(found));
            });
    }

    void end_later(Error reason) {
        asio::post(socket_.get_executor(),
                   [self = shared_from_this(), reason = std::move(reason)]() mutable {
                       self->end(with_context(std::move(reason), "dial"));
                   });
    }

  private:
    tl::unexpected<Error> refused(ErrorCode code, const error_code& ec) const {
        return error(code, fmt::format("dial {}: {}", address_, ec.message()));
    }
    void connect(tcp::resolver::results_type endpoints) {
        asio::async_connect(socket_, endpoints,
                            [self = shared_from_this()](error_code ec, const tcp::endpoint& to) {
                                self->on_connected(ec, to);
                            });
    }
    void on_connected(error_code ec, const tcp::endpoint& to) {
        if (ended_) return;
        // Whoever dials a free port of this machine long enough is given that very port as its own
        // and meets itself.
        error_code unbound;
        if (!ec && socket_.local_endpoint(unbound) == to) ec = asio::error::connection_refused;
        if (ec) return end(refused(ErrorCode::kPeerLost, ec));
        upgrade_(std::move(socket_), limits_, address_,
                 [self = shared_from_this()](Result<std::shared_ptr<Connection>> made) {
                     if (!made) made = with_context(std::move(made.error()), "dial");
                     self->end(std::move(made));  // too late, it is let go of
                 });
    }
    void end(Result<std::shared_ptr<Connection>> result) {
        if (std::exchange(ended_, true)) return;
        timer_.cancel();
        resolver_.cancel();
        error_code ignored;
        if (!result) socket_.close(ignored);
        std::exchange(on_done_, nullptr)(std::move(result));
    }

    tcp::resolver resolver_;
    tcp::socket socket_;
    asio::steady_timer timer_;
    std::string address_;
    Limits limits_;
    Upgrade upgrade_;
    DialHandler on_done_;
    bool ended_ = false;
};

tl::unexpected<Error> cannot_listen(const std::string& address, const error_code& ec) {
    const bool taken = ec == asio::error::address_in_use || ec == asio::error::no_descriptors;
    return error(taken ? ErrorCode::kResourceExhausted : ErrorCode::kInvalidArgument,
                 fmt::format("listen {}: {}", address, ec.message()));
}

class SocketTransport final : public Transport {
  public:
    SocketTransport(asio::io_context& loop, Upgrade accepted, Upgrade dialled)
        : loop_(loop), accepted_(std::move(accepted)), dialled_(std::move(dialled)) {}

    Result<std::unique_ptr<Listener>> listen(const std::string& address, const Limits& limits,
                                             AcceptHandler on_accept) override {
        auto endpoint = local_endpoint(address);
        if (!endpoint) return with_context(std::move(endpoint.error()), "listen");
        tcp::acceptor acceptor(loop_);
        error_code ec;
        acceptor.open(endpoint->protocol(), ec);
        if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
        if (!ec) acceptor.bind(*endpoint, ec);
        if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
        tcp::endpoint bound;
        if (!ec) bound = acceptor.local_endpoint(ec);
        if (ec) return cannot_listen(address, ec);
        auto shared = std::make_shared<Acceptor>(std::move(acceptor), to_string(bound), limits,
                                                 accepted_, std::move(on_accept));
        shared->accept();
        return std::make_unique<TcpListener>(std::move(shared));
    }

    void dial(const std::string& address, const Limits& limits, std::chrono::milliseconds timeout,
              DialHandler on_done) override {
        const auto dial =
            std::make_shared<Dial>(loop_, address, limits, dialled_, std::move(on_done));
        try {
            dial->begin(timeout);
        } catch (const std::exception& e) {  // the resolver could not make its thread
            dial->end_later({ErrorCode::kResourceExhausted, address + ": " + e.what()});
        }
    }

  private:
    /// Waits for the resolver if the host is a name: a listener is made once, at the start.
    Result<tcp::endpoint> local_endpoint(const std::string& address) {
        POTLUCK_ASSIGN(const HostPort parsed, parse_address(address));
        if (parsed.host.empty()) return tcp::endpoint(tcp::v4(), parsed.port);
        error_code ec;
        const auto numeric = asio::ip::make_address(parsed.host, ec);
        if (!ec) return tcp::endpoint(numeric, parsed.port);
        const auto found = tcp::resolver(loop_).resolve(parsed.host, std::to_string(parsed.port),
                                                        tcp::resolver::passive, ec);
        if (ec || found.empty()) {
            return error(ErrorCode::kNotFound, fmt::format("{}: {}", address, ec.message()));
        }
        return found.begin()->endpoint();
    }

    asio::io_context& loop_;
    Upgrade accepted_;
    Upgrade dialled_;
};

}  // namespace

std::unique_ptr<Transport> make_socket_transport(asio::io_context& loop, Upgrade accepted,
                                                 Upgrade dialled) {
    return std::make_unique<SocketTransport>(loop, std::move(accepted), std::move(dialled));
}

std::string to_string(const tcp::endpoint& endpoint) {
    const std::string host = endpoint.address().to_string();
    return to_string(HostPort{host, endpoint.port()});
}

}  // namespace potluck::transport
