#include "transport/tls.h"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "base/log.h"
#include "transport/refusals.h"
#include "transport/sockets.h"
#include "transport/tls_socket.h"

namespace potluck::transport {
namespace {

using asio::ip::tcp;
using security::CertificatePtr;

/// The fastest first: all have hardware for it but the oldest, which take the last.
constexpr const char* kCiphers =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

tl::unexpected<Error> failed(const char* what) {
    return error(ErrorCode::kCorrupt, fmt::format("TLS: {}: {}", what, security::openssl_error()));
}

/// What both directions share: TLS 1.3 alone, no resumption, nothing sent before the proof.
Result<SslContextPtr> new_context(const SSL_METHOD* method) {
    SslContextPtr context(SSL_CTX_new(method));
    if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(context.get(), kCiphers) != 1 ||
        SSL_CTX_set_num_tickets(context.get(), 0) != 1)
        return failed("no TLS 1.3");
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    return context;
}

/// After OpenSSL's own verification: a certificate that is good may have been revoked. The other
/// side is told so by an alert.
int refuse_revoked(int valid, X509_STORE_CTX* handshake) {
    if (valid != 1 || X509_STORE_CTX_get_error_depth(handshake) != 0) return valid;
    const auto* ssl = static_cast<const SSL*>(
        X509_STORE_CTX_get_ex_data(handshake, SSL_get_ex_data_X509_STORE_CTX_idx()));
    const auto* standing =
        static_cast<const security::Standing*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
    const auto node = security::identity_of(X509_STORE_CTX_get_current_cert(handshake));
    if (!node || !standing->is_revoked(*node)) return valid;
    X509_STORE_CTX_set_error(handshake, X509_V_ERR_CERT_REVOKED);
    return 0;
}

/// `standing` must live while there are handshakes.
Result<SslContextPtr> new_context(const SSL_METHOD* method,
                                  const security::Credentials& credentials, int verify,
                                  const security::Standing& standing) {
    POTLUCK_ASSIGN(SslContextPtr context, new_context(method));
    POTLUCK_ASSIGN(const CertificatePtr ca, security::read_certificate(credentials.ca));
    POTLUCK_ASSIGN(const CertificatePtr own, security::read_certificate(credentials.certificate));
    POTLUCK_ASSIGN(const security::KeyPtr key, security::read_key(credentials.key));
    SSL_CTX* c = context.get();
    // The authority goes along, so that joining machines can compare its fingerprint.
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(c), ca.get()) != 1 ||
        SSL_CTX_use_certificate(c, own.get()) != 1 || SSL_CTX_add1_chain_cert(c, ca.get()) != 1 ||
        SSL_CTX_use_PrivateKey(c, key.get()) != 1 || SSL_CTX_check_private_key(c) != 1)
        return failed("certificates");
    SSL_CTX_set_app_data(c, const_cast<security::Standing*>(&standing));
    SSL_CTX_set_verify(c, verify, refuse_revoked);
    return context;
}

/// What handshakes need, and what came of them; connections and attempts in progress hold it.
struct Contexts {
    SslContextPtr server;  ///< null: dials only
    SslContextPtr client;
    security::Fingerprint authority{};  ///< of a joining machine, which has nothing of the rest
    std::shared_ptr<const security::Standing> standing;
    std::shared_ptr<const security::Credentials> shown;  ///< what the two above were made from
    bool take_anonymous = false;
    std::vector<std::weak_ptr<Stream<TlsSocket>>> live;

    /// Makes the two above if there is something new to show.
    Status refresh() {
        if (!standing) return {};
        auto current = standing->credentials();
        if (current == shown) return {};
        const int strict = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
        POTLUCK_ASSIGN(auto new_server,
                       new_context(TLS_server_method(), *current,
                                   take_anonymous ? SSL_VERIFY_PEER : strict, *standing));
        POTLUCK_ASSIGN(auto new_client,
                       new_context(TLS_client_method(), *current, SSL_VERIFY_PEER, *standing));
        server = std::move(new_server);
        client = std::move(new_client);
        shown = std::move(current);
        return {};
    }
    /// The same for a handshake that begins: what was shown before goes on if it fails.
    void refresh_or_say() {
        if (auto made = refresh(); !made)
            log::failure("the renewed certificate cannot be shown: {}", made.error().message);
    }
    std::shared_ptr<Connection> connect(TlsSocket socket, const Limits& limits,
                                        const std::string& peer) {
        auto stream = std::make_shared<Stream<TlsSocket>>(std::move(socket), limits, peer);
        std::erase_if(live, [](const auto& weak) { return weak.expired(); });
        live.push_back(stream);
        return make_stream_connection(std::move(stream));
    }
    void cut_revoked() {
        const auto all = live;  // callbacks come later, but let them do what they like
        for (const auto& weak : all) {
            const auto stream = weak.lock();
            if (!stream || !standing->is_revoked(stream->identity())) continue;
            stream->close(
                {ErrorCode::kPeerLost, fmt::format("{}: the certificate of {} is revoked",
                                                   stream->peer(), stream->identity().name)});
        }
    }
};

/// Instead of OpenSSL's own verification: the authority is the certificate with the fingerprint.
int verify_pinned(X509_STORE_CTX* handshake, void* argument) {
    const auto& wanted = static_cast<const Contexts*>(argument)->authority;
    STACK_OF(X509)* chain = X509_STORE_CTX_get0_untrusted(handshake);
    X509* authority = nullptr;
    for (int i = 0; i < sk_X509_num(chain); ++i) {
        security::Fingerprint found{};
        unsigned n = 0;
        X509* certificate = sk_X509_value(chain, i);
        if (X509_digest(certificate, EVP_sha256(), found.data(), &n) == 1 && found == wanted)
            authority = certificate;
    }
    if (authority == nullptr) {
        X509_STORE_CTX_set_error(handshake, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    const security::StorePtr store(X509_STORE_new());
    const security::StoreContextPtr context(X509_STORE_CTX_new());
    if (!store || !context || X509_STORE_add_cert(store.get(), authority) != 1 ||
        X509_STORE_CTX_init(context.get(), store.get(), X509_STORE_CTX_get0_cert(handshake),
                            nullptr) != 1 ||
        X509_STORE_CTX_set_default(context.get(), "ssl_server") != 1) {
        X509_STORE_CTX_set_error(handshake, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }
    const int valid = X509_verify_cert(context.get());
    X509_STORE_CTX_set_error(handshake, X509_STORE_CTX_get_error(context.get()));
    return valid == 1 ? 1 : 0;
}

/// One handshake; calls back once, when it is done, failed or took too long.
class Handshake : public std::enable_shared_from_this<Handshake> {
  public:
    using Done = std::function<void(Result<TlsSocket>)>;

    Handshake(TlsSocket socket, std::string peer, Done done)
        : socket_(std::move(socket)),
          timer_(socket_.get_executor()),
          peer_(std::move(peer)),
          done_(std::move(done)) {}

    void begin(std::chrono::milliseconds timeout) {
        timer_.expires_after(timeout);
        timer_.async_wait([self = shared_from_this()](const error_code& cancelled) {
            if (!cancelled)
                self->end(error(ErrorCode::kTimedOut,
                                fmt::format("{}: no TLS handshake in time", self->peer_)));
        });
        step();
    }

  private:
    void step() {
        const auto progress = socket_.engine().handshake();
        if (socket_.engine().outgoing().empty()) return after(progress);
        socket_.flush(0, [self = shared_from_this(), progress](const error_code& ec, std::size_t) {
            // Whoever hung up may have said why.
            self->after(ec && progress == TlsEngine::Progress::kDone ? TlsEngine::Progress::kMore
                                                                     : progress);
        });
    }
    void after(TlsEngine::Progress progress) {
        if (!done_) return;
        switch (progress) {
            case TlsEngine::Progress::kFailed:
                // Somebody is there, but not whom we can speak with.
                return end(refused(ErrorCode::kCorrupt, socket_.engine().failure()));
            case TlsEngine::Progress::kDone:
                return finish();
            case TlsEngine::Progress::kMore:
                return socket_.fill([self = shared_from_this()](const error_code& ec, std::size_t) {
                    if (ec) return self->end(self->refused(ErrorCode::kPeerLost, ec.message()));
                    self->step();
                });
        }
    }
    void finish() {
        if (X509* certificate = socket_.engine().peer_certificate()) {
            auto identity = security::identity_of(certificate);
            if (!identity) return end(refused(ErrorCode::kCorrupt, identity.error().message));
            socket_.set_identity(std::move(*identity));
        }
        end(std::move(socket_));
    }
    tl::unexpected<Error> refused(ErrorCode code, const std::string& why) const {
        return error(code, fmt::format("{}: TLS: {}", peer_, why));
    }
    void end(Result<TlsSocket> result) {
        if (!done_) return;
        timer_.cancel();
        if (!result) socket_.close();
        std::exchange(done_, nullptr)(std::move(result));
    }

    TlsSocket socket_;
    asio::steady_timer timer_;
    std::string peer_;
    Done done_;
};

void start_handshake(tcp::socket socket, SSL_CTX* context, bool server, const std::string& peer,
                     std::chrono::milliseconds timeout, Handshake::Done done) {
    auto engine = TlsEngine::make(context, server);
    if (!engine) return done(with_context(std::move(engine.error()), peer));
    std::make_shared<Handshake>(TlsSocket(std::move(socket), std::move(*engine)), peer,
                                std::move(done))
        ->begin(timeout);
}

/// The accepting side: who is on the doorstep, and who was turned away.
class Door : public std::enable_shared_from_this<Door> {
  public:
    Door(std::shared_ptr<Contexts> contexts, AcceptHandler on_anonymous,
         std::chrono::milliseconds timeout)
        : contexts_(std::move(contexts)),
          on_anonymous_(std::move(on_anonymous)),
          timeout_(timeout) {}

    std::uint64_t refused() const { return refusals_.total(); }

    void knock(tcp::socket socket, const Limits& limits, const std::string& peer,
               DialHandler on_done) {
        const std::string host = host_of(peer);
        if (waiting_ >= kMaxHandshakes || waiting_by_host_[host] >= kMaxHandshakesPerHost)
            return turn_away(peer, peer + ": too many handshakes at once");
        ++waiting_;
        ++waiting_by_host_[host];
        contexts_->refresh_or_say();
        start_handshake(std::move(socket), contexts_->server.get(), true, peer, timeout_,
                        [self = shared_from_this(), host, peer, limits,
                         on_done = std::move(on_done)](Result<TlsSocket> made) {
                            self->leave(host);
                            if (!made) return self->turn_away(peer, made.error().message);
                            self->let_in(std::move(*made), limits, peer, on_done);
                        });
    }

  private:
    void leave(const std::string& host) {
        --waiting_;
        if (--waiting_by_host_[host] == 0) waiting_by_host_.erase(host);
    }
    void let_in(TlsSocket socket, const Limits& limits, const std::string& peer,
                const DialHandler& on_done) {
        if (socket.identity().role != security::Role::kUnknown)
            return on_done(contexts_->connect(std::move(socket), limits, peer));
        if (!on_anonymous_) return turn_away(peer, peer + ": no certificate");
        const Limits small{.max_head_bytes = kMaxAnonymousHeadBytes,
                           .max_payload_bytes = 0,
                           .max_queued_frames = 4,
                           .max_queued_bytes = 4 * kMaxAnonymousHeadBytes};
        on_anonymous_(make_stream_connection(std::move(socket), small, peer));
    }
    void turn_away(const std::string& peer, const std::string& why) {
        if (refusals_.count(peer)) {
            log::warning("refused {} ({} refused so far; more from there are only counted)", why,
                         refusals_.total());
        }
    }

    std::shared_ptr<Contexts> contexts_;
    AcceptHandler on_anonymous_;
    std::chrono::milliseconds timeout_;
    std::size_t waiting_ = 0;
    std::map<std::string, std::size_t> waiting_by_host_;
    Refusals refusals_;
};

Upgrade dialled(std::shared_ptr<Contexts> contexts, std::chrono::milliseconds timeout) {
    return [contexts = std::move(contexts), timeout](tcp::socket socket, const Limits& limits,
                                                     const std::string& peer, DialHandler on_done) {
        contexts->refresh_or_say();
        start_handshake(
            std::move(socket), contexts->client.get(), false, peer, timeout,
            [contexts, limits, peer, on_done = std::move(on_done)](Result<TlsSocket> made) {
                if (!made) return on_done(tl::make_unexpected(std::move(made.error())));
                on_done(contexts->connect(std::move(*made), limits, peer));
            });
    };
}

class SocketTlsTransport final : public TlsTransport {
  public:
    SocketTlsTransport(std::unique_ptr<Transport> sockets, std::shared_ptr<Contexts> contexts,
                       std::shared_ptr<const Door> door)
        : sockets_(std::move(sockets)), contexts_(std::move(contexts)), door_(std::move(door)) {}
    Result<std::unique_ptr<Listener>> listen(const std::string& address, const Limits& limits,
                                             AcceptHandler on_accept) override {
        return sockets_->listen(address, limits, std::move(on_accept));
    }
    void dial(const std::string& address, const Limits& limits, std::chrono::milliseconds timeout,
              DialHandler on_done) override {
        sockets_->dial(address, limits, timeout, std::move(on_done));
    }
    void cut_revoked() override { contexts_->cut_revoked(); }
    std::uint64_t refused() const override { return door_->refused(); }

  private:
    std::unique_ptr<Transport> sockets_;
    std::shared_ptr<Contexts> contexts_;
    std::shared_ptr<const Door> door_;
};

}  // namespace

Result<std::unique_ptr<TlsTransport>> make_tls_transport(asio::io_context& loop,
                                                         TlsOptions options) {
    const auto contexts = std::make_shared<Contexts>();
    contexts->standing = options.standing
                             ? std::move(options.standing)
                             : std::make_shared<security::Standing>(std::move(options.credentials));
    contexts->take_anonymous = options.on_anonymous != nullptr;
    POTLUCK_TRY(contexts->refresh());
    const auto door = std::make_shared<Door>(contexts, std::move(options.on_anonymous),
                                             options.handshake_timeout);
    auto sockets = make_socket_transport(
        loop,
        [door](tcp::socket socket, const Limits& limits, const std::string& peer,
               DialHandler on_done) {
            door->knock(std::move(socket), limits, peer, std::move(on_done));
        },
        dialled(contexts, options.handshake_timeout));
    return std::make_unique<SocketTlsTransport>(std::move(sockets), contexts, door);
}

Result<std::unique_ptr<Transport>> make_joining_transport(asio::io_context& loop,
                                                          const security::Fingerprint& authority) {
    const auto contexts = std::make_shared<Contexts>();
    contexts->authority = authority;
    POTLUCK_ASSIGN(contexts->client, new_context(TLS_client_method()));
    SSL_CTX_set_verify(contexts->client.get(), SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(contexts->client.get(), verify_pinned, contexts.get());
    return make_socket_transport(
        loop, [](tcp::socket, const Limits&, const std::string&, const DialHandler&) {},
        dialled(contexts, kHandshakeTimeout));
}

}  // namespace potluck::transport
