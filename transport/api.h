#pragma once

// Moves opaque frames between processes; knows no messages. A frame is a head (bytes that the
// receiver must see before it can place the rest) and a payload (bulk, received straight into the
// buffer that the receiver supplies).
//
// Thread: a transport, its listeners and its connections belong to one loop thread; every callback
// comes on it, and every method is called on it. Nothing blocks.

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "security/identity.h"

namespace potluck::transport {

/// Bounds of one connection. A peer that claims more is cut off with kCorrupt before anything is
/// reserved.
struct Limits {
    std::size_t max_head_bytes = 16U << 20;
    std::size_t max_payload_bytes = 1U << 30;
    std::size_t max_queued_frames = 256;  ///< sent and not yet on the wire
    std::size_t max_queued_bytes = 1U << 30;
};

/// The receiving half, supplied by the user of a connection.
class Receiver {
  public:
    virtual ~Receiver() = default;
    /// A head has come and `payload_bytes` follow: say where to put them (exactly that many bytes,
    /// kept alive until on_frame or on_closed). An error closes the connection. Not called without
    /// payload.
    virtual Result<std::span<std::byte>> on_head(std::span<const std::byte> head,
                                                 std::size_t payload_bytes) = 0;
    /// The frame is complete. `head` is valid during the call only. An error closes the connection.
    virtual Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) = 0;
    /// Once, after which no callback comes, and never from within a method of the connection.
    /// kPeerLost if the other side went away, kCancelled after our own close(), kCorrupt for what
    /// cannot be a frame. All `done` callbacks of the connection came before it.
    virtual void on_closed(const Error& reason) = 0;
};

/// Called once per send: an error if the connection closed before the frame left.
using SendDone = std::function<void(Status)>;

/// Letting go of the last reference closes it.
class Connection {
  public:
    virtual ~Connection() = default;
    /// Queues a frame. `head` is copied; the payload's pieces are not and must stay until `done`.
    /// kResourceExhausted if a bound of Limits is reached (nothing is queued, `done` is not
    /// called), kInvalidArgument if the frame alone is above them, kPeerLost if closed. Frames
    /// arrive in the order of their sends. `done` never comes from within send; it may be empty.
    virtual Status send(std::span<const std::byte> head,
                        std::span<const std::span<const std::byte>> payload, SendDone done) = 0;
    /// Sets who receives from now on; frames wait in the network until there is one, and so does
    /// the news that the connection closed. Null pauses.
    virtual void start(std::shared_ptr<Receiver> receiver) = 0;
    virtual void close() = 0;
    virtual std::string peer() const = 0;  ///< for messages
    /// Who the other side proved to be: kUnknown if this transport asks for no proof, or on a
    /// connection that was handed over as anonymous.
    virtual security::NodeIdentity identity() const { return {}; }
};

/// Letting go of it closes it; connections that it accepted stay.
class Listener {
  public:
    virtual ~Listener() = default;
    virtual std::string address() const = 0;  ///< with the port that was really taken
    virtual void close() = 0;
};

using AcceptHandler = std::function<void(std::shared_ptr<Connection>)>;
using DialHandler = std::function<void(Result<std::shared_ptr<Connection>>)>;

class Transport {
  public:
    virtual ~Transport() = default;
    /// Address: "host:port"; port 0 takes a free one.
    virtual Result<std::unique_ptr<Listener>> listen(const std::string& address,
                                                     const Limits& limits,
                                                     AcceptHandler on_accept) = 0;
    /// Calls `on_done` once, later, with an error that names the address: kTimedOut, kPeerLost if
    /// nobody listens there, kNotFound for a host without address, kInvalidArgument.
    virtual void dial(const std::string& address, const Limits& limits,
                      std::chrono::milliseconds timeout, DialHandler on_done) = 0;
};

}  // namespace potluck::transport
