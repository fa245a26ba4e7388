#pragma once

// A connection that carries control messages, and the greeting that every connection begins with:
// both the coordinator and the workers speak through this.
//
// Thread: the loop's, as transport/api.h.

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "proto/control.h"
#include "proto/frame.h"
#include "security/identity.h"
#include "transport/api.h"

namespace potluck::links {

/// In a Hello: the messages about certificates (Revoked, Renew, Renewed) are understood; from a
/// coordinator also that it can renew them.
inline constexpr const char* kCertificatesFeature = "certificates";
bool has_feature(const proto::Hello& hello, const char* feature);

/// Our own Hello: versions filled in.
proto::Hello make_hello(proto::Hello::Role role, std::string node_name,
                        proto::WireVersions versions = proto::wire_versions());
/// The version to speak with a peer, or why we cannot.
Result<const proto::WireLayout*> check_hello(const proto::Hello& hello,
                                             proto::WireVersions versions = proto::wire_versions());

/// Decodes control messages and hands them over; closes on what is none.
class ControlLink : public transport::Receiver, public std::enable_shared_from_this<ControlLink> {
  public:
    struct Handler {
        std::function<void(const proto::Control&)> on_message;
        std::function<void(const Error&)> on_closed;
    };

    /// Starts receiving. The link lives as long as its connection or its caller holds it.
    static std::shared_ptr<ControlLink> attach(std::shared_ptr<transport::Connection> connection,
                                               Handler handler);

    /// kResourceExhausted if the peer does not read, kPeerLost if it is gone.
    Status send(const proto::Control& message);
    /// Who is told from now on.
    void set_handler(Handler handler) { handler_ = std::move(handler); }
    /// No more callbacks; what has not left yet is dropped.
    void close();
    /// Sends a last message and closes once it has left.
    void send_last(const proto::Control& message);
    /// Gives the connection up to another receiver (a data link after its greeting).
    std::shared_ptr<transport::Connection> release();
    std::string peer() const { return connection_ ? connection_->peer() : "closed"; }
    /// What the peer proved to be; unknown once closed.
    security::NodeIdentity identity() const {
        return connection_ ? connection_->identity() : security::NodeIdentity{};
    }

    Result<std::span<std::byte>> on_head(std::span<const std::byte> head,
                                         std::size_t payload_bytes) override;
    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override;
    void on_closed(const Error& reason) override;

  private:
    ControlLink(std::shared_ptr<transport::Connection> connection, Handler handler)
        : connection_(std::move(connection)), handler_(std::move(handler)) {}

    std::shared_ptr<transport::Connection> connection_;
    Handler handler_;
};

/// Where to dial: an address of a network and who must be there.
struct Destination {
    std::string address;
    security::NodeIdentity node;
};

/// A connection whose ends have greeted one another.
struct Greeted {
    std::shared_ptr<transport::Connection> connection;
    const proto::WireLayout* wire = &proto::kWireV1;  ///< the version that both speak
};
using GreetHandler = std::function<void(Result<Greeted>)>;

/// Dials, checks who answers, says Hello (with these versions) and waits for a welcome. `on_done`
/// gets the greeted connection, or why there is none.
void dial_and_greet(transport::Transport& transport, const Destination& to,
                    const transport::Limits& limits, std::chrono::milliseconds timeout,
                    const proto::Hello& hello, GreetHandler on_done,
                    proto::WireVersions versions = proto::wire_versions());

/// "kitchen", "the coordinator" or "somebody unknown".
std::string to_string(const security::NodeIdentity& node);

/// A node that listens on all its addresses cannot name one: `announced` with the host of `peer`,
/// the other end of a connection to it, instead of 0.0.0.0 or [::].
std::string reachable(const std::string& announced, const std::string& peer);

}  // namespace potluck::links
