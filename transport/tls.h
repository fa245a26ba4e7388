#pragma once

// Frames over TLS 1.3 with certificates on both sides: what all links of a cluster use. A
// connection reaches its user only after the other side has proved to be of the same cluster; who
// it is, says Connection::identity. Everything runs on the thread that runs `loop`, which must
// outlive the transport, its listeners and its connections.
//
// Whoever does not finish the handshake is cut off after kHandshakeTimeout; the number that try at
// once is bounded, in all and per host. Failures are counted and logged once per host.

#include <chrono>
#include <cstdint>
#include <memory>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "security/certificates.h"
#include "security/identity.h"
#include "security/standing.h"
#include "transport/api.h"

namespace potluck::transport {

inline constexpr std::chrono::seconds kHandshakeTimeout{10};
inline constexpr std::size_t kMaxHandshakes = 64;
inline constexpr std::size_t kMaxHandshakesPerHost = 16;
/// An anonymous connection has no more to say than a certificate request.
inline constexpr std::size_t kMaxAnonymousHeadBytes = 16U << 10;

struct TlsOptions {
    security::Credentials credentials;
    /// Instead of the credentials: what this node shows, and whom it refuses, from now on. What was
    /// renewed is shown in the handshakes that begin later.
    std::shared_ptr<const security::Standing> standing;
    /// Gets the connections of those who showed no certificate, with an unknown identity. Without
    /// it they are refused in the handshake. Those who show a wrong one always are.
    AcceptHandler on_anonymous;
    std::chrono::milliseconds handshake_timeout = kHandshakeTimeout;
};

class TlsTransport : public Transport {
  public:
    /// Ends the connections with nodes whose certificates are revoked by now, accepted and dialled
    /// ones; their on_closed comes later and says why. New ones fail in the handshake by
    /// themselves.
    virtual void cut_revoked() = 0;
    /// Who came to a listener and was turned away, so far.
    virtual std::uint64_t refused() const = 0;
};

/// kCorrupt if the credentials are none.
Result<std::unique_ptr<TlsTransport>> make_tls_transport(boost::asio::io_context& loop,
                                                         TlsOptions options);

/// For a machine that is not of the cluster yet: dials only, shows no certificate, and speaks to
/// nobody but a holder of a certificate of the authority with this fingerprint.
Result<std::unique_ptr<Transport>> make_joining_transport(boost::asio::io_context& loop,
                                                          const security::Fingerprint& authority);

}  // namespace potluck::transport
