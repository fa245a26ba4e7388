#include "coordinator/api/server.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <exception>
#include <random>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/log.h"
#include "coordinator/api/http_text.h"
#include "coordinator/api/key_file.h"
#include "coordinator/api/key_watch.h"
#include "coordinator/api/session.h"

namespace potluck::coordinator {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

namespace {

constexpr std::chrono::milliseconds kAcceptRetry{100};  // when the process is out of descriptors

/// `open`: beyond this machine too.
Result<tcp::endpoint> parse_address(const std::string& text, bool open) {
    const auto malformed = [&] {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("'{}' is no address to listen on: write it as 127.0.0.1:8080", text));
    };
    const auto colon = text.rfind(':');
    if (colon == std::string::npos) return malformed();
    std::string host = text.substr(0, colon);
    const std::string port_text = text.substr(colon + 1);
    std::uint16_t port = 0;
    const char* end = port_text.data() + port_text.size();
    const auto parsed = std::from_chars(port_text.data(), end, port);
    if (parsed.ec != std::errc() || parsed.ptr != end) return malformed();
    if (host == "localhost") host = "127.0.0.1";
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    error_code ec;
    const auto address = asio::ip::make_address(host, ec);
    if (ec) return malformed();
    if (!address.is_loopback() && !open)
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format(
                "the API does not listen on {} without keys, since whoever reaches it could "
                "use it: give it --keys FILE (`potluck key new NAME` makes one), or an "
                "address of this machine alone (127.0.0.1 or [::1]); --insecure-no-keys "
                "lets everybody in",
                text));
    return tcp::endpoint(address, port);
}

void fill_defaults(ApiOptions& options) {
    if (!options.now) options.now = [] { return std::chrono::steady_clock::now(); };
    if (!options.unix_now)
        options.unix_now = [] {
            return std::chrono::duration_cast<std::chrono::seconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                .count();
        };
    if (!options.random) {
        auto device = std::make_shared<std::random_device>();
        options.random = [device] { return std::uint64_t{(*device)()} << 32 | (*device)(); };
    }
}

}  // namespace

struct ApiServer::Impl : std::enable_shared_from_this<ApiServer::Impl> {
    Impl(asio::io_context& loop, Backend& backend, ApiOptions options)
        : context(std::make_shared<api::ServerContext>(loop, backend, std::move(options))),
          acceptor(loop),
          retry(loop) {}

    Status listen(const tcp::endpoint& endpoint);
    void accept();
    void take(tcp::socket socket);
    void stop();
    void use_keys(api::KeyFile file);

    std::shared_ptr<api::ServerContext> context;
    tcp::acceptor acceptor;
    asio::steady_timer retry;
    std::shared_ptr<api::KeyWatch> key_watch;  ///< null without keys
    std::uint16_t port = 0;
    std::string url;
    bool stopped = false;
};

Status ApiServer::Impl::listen(const tcp::endpoint& endpoint) {
    error_code ec;
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec == asio::error::address_in_use)
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("port {} of {} is taken by another program: choose another one",
                                 endpoint.port(), endpoint.address().to_string()));
    if (ec)
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("cannot listen on {}: {}", context->options.address, ec.message()));
    port = acceptor.local_endpoint(ec).port();
    const bool v6 = endpoint.address().is_v6();
    url = fmt::format("http://{}{}{}:{}", v6 ? "[" : "", endpoint.address().to_string(),
                      v6 ? "]" : "", port);
    return {};
}

void ApiServer::Impl::accept() {
    acceptor.async_accept([self = shared_from_this()](error_code ec, tcp::socket socket) {
        if (self->stopped) return;
        if (!ec) {
            self->take(std::move(socket));
            return self->accept();
        }
        log::warning("api: cannot accept a connection: {}", ec.message());
        self->retry.expires_after(kAcceptRetry);
        self->retry.async_wait([self](error_code) {
            if (!self->stopped) self->accept();
        });
    });
}

void ApiServer::Impl::take(tcp::socket socket) {
    if (context->connections.size() < context->options.max_connections)
        return api::serve_connection(context, std::move(socket));
    // The send buffer of a new socket holds this little text; whoever is not there to read it has
    // lost nothing.
    const api::Reply reply = api::error_reply(
        {503, "too many connections", "service_unavailable", "", "too_many_connections"});
    error_code ignored;
    socket.non_blocking(true, ignored);
    const std::string text = api::response_text(reply, {.keep_alive = false});
    socket.write_some(asio::buffer(text), ignored);
    socket.shutdown(tcp::socket::shutdown_send, ignored);
}

void ApiServer::Impl::use_keys(api::KeyFile file) {
    const auto replace = [context = context](std::vector<api::ApiKey> keys) {
        context->keys.replace(std::move(keys), context->options.now());
    };
    if (file.keys.empty())
        log::warning("api: {} names no key: nobody can use the API until it does",
                     context->options.keys_file);
    replace(std::move(file.keys));
    key_watch = std::make_shared<api::KeyWatch>(context->loop, context->pool,
                                                context->options.keys_file, file.stamp, replace);
    key_watch->start(context->options.keys_interval);
}

void ApiServer::Impl::stop() {
    if (std::exchange(stopped, true)) return;
    error_code ignored;
    acceptor.close(ignored);
    retry.cancel();
    if (key_watch) key_watch->stop();
    // A copy: each connection removes itself from the set as it closes.
    const std::vector<std::shared_ptr<api::Connection>> open(context->connections.begin(),
                                                             context->connections.end());
    for (const auto& connection : open)
        connection->close();
}

Result<std::unique_ptr<ApiServer>> ApiServer::start(asio::io_context& loop, Backend& backend,
                                                    ApiOptions options) {
    try {
        fill_defaults(options);
        const bool keyed = !options.keys_file.empty();
        POTLUCK_ASSIGN(const tcp::endpoint endpoint,
                       parse_address(options.address, keyed || options.insecure_no_keys));
        api::KeyFile keys;
        if (keyed) {
            POTLUCK_ASSIGN(keys, api::read_key_file(options.keys_file));
        }
        auto impl = std::make_shared<Impl>(loop, backend, std::move(options));
        POTLUCK_TRY(impl->listen(endpoint));
        if (keyed) impl->use_keys(std::move(keys));
        impl->accept();
        return std::unique_ptr<ApiServer>(new ApiServer(std::move(impl)));
    } catch (const std::exception& e) {  // threads or a random source that the system refuses
        return error(ErrorCode::kInternal, fmt::format("cannot start the API: {}", e.what()));
    }
}

ApiServer::ApiServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
ApiServer::~ApiServer() {
    stop();
}
std::uint16_t ApiServer::port() const {
    return impl_->port;
}
const std::string& ApiServer::url() const {
    return impl_->url;
}
std::size_t ApiServer::body_bytes() const {
    return impl_->context->bodies.held();
}
void ApiServer::reload_keys() {
    if (impl_->key_watch) impl_->key_watch->read_now();
}
void ApiServer::stop() {
    impl_->stop();
}

}  // namespace potluck::coordinator
