#pragma once

// A network of hosts in one process and one thread, in virtual time: a discrete-event simulator.
// What happens and in which order is a pure function of the seed and of what its user does; equal
// runs have equal event_hash(). Connections behave as TCP's do: in order, with room for a bounded
// number of bytes between the two sides, silent while the network is cut.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "transport/api.h"

namespace potluck::transport {

struct SimLink {
    std::chrono::nanoseconds min_delay = std::chrono::microseconds(50);
    std::chrono::nanoseconds max_delay = std::chrono::microseconds(500);
    std::uint64_t bytes_per_second =
        0;  ///< of each direction, shared by its connections; 0: no bound
};

struct SimOptions {
    std::uint64_t seed = 1;
    SimLink link;  ///< of every pair of hosts, until set_link says otherwise
    /// Bytes of a connection's direction that have left the sender and that the receiver has not
    /// taken; one frame always fits. What sockets' buffers are to TCP.
    std::size_t window_bytes = 4U << 20;
};

/// What becomes of a frame on its way.
struct SimFate {
    enum class Kind : std::uint8_t {
        kArrives,
        kIsLate,  ///< by `delay`, and with it all that comes after it: what TCP makes of a loss
        kIsLost,  ///< and what comes after it arrives: nothing that TCP does
        kComesTwice,
        kIsOvertaken,  ///< by the next frame, if one is under way
        kIsBroken  ///< what TLS makes of bytes that changed: the receiving side ends with kCorrupt
    };
    Kind kind = Kind::kArrives;
    std::chrono::nanoseconds delay{};
};
/// Asked once for each frame that arrives; may change its bytes, not their number.
using SimTamper = std::function<SimFate(std::span<std::byte> head, std::span<std::byte> payload)>;

class SimCore;

class SimNetwork {
  public:
    explicit SimNetwork(const SimOptions& options = {});
    /// Ends everything without callbacks; connections that are still held are dead.
    ~SimNetwork();
    SimNetwork(const SimNetwork&) = delete;
    SimNetwork& operator=(const SimNetwork&) = delete;

    /// The transport of a host, whose name is the host in addresses. After crash or power_off this
    /// is how the host comes back.
    std::unique_ptr<Transport> transport(std::string host);

    /// Both directions.
    void set_link(const std::string& a, const std::string& b, const SimLink& link);
    /// Nothing passes between a and b until heal; what is under way waits, dials time out.
    void cut(const std::string& a, const std::string& b);
    /// The same in one direction; no connection is made between them meanwhile.
    void cut_one_way(const std::string& from, const std::string& to);
    /// Both directions.
    void heal(const std::string& a, const std::string& b);
    /// Every connection between a and b ends with kPeerLost on both sides, as keepalive would do in
    /// a long cut.
    void reset(const std::string& a, const std::string& b);
    /// The process is gone: nothing of it is called any more, what it sent arrives, then its peers
    /// see kPeerLost, and dials are refused.
    void crash(const std::string& host);
    /// The machine is gone: as crash, but peers hear nothing and dials time out.
    void power_off(const std::string& host);
    /// The process does nothing until resume, as after SIGSTOP: what comes to it and what it would
    /// do waits, dials to it time out.
    void pause(const std::string& host);
    void resume(const std::string& host);
    /// Of all frames that arrive on the way from `from` to `to`; null: nothing any more.
    void tamper(const std::string& from, const std::string& to, SimTamper tamper);

    std::chrono::nanoseconds now() const;
    /// Calls `fn` after `delay`; calls for the same instant come in the order of their posts.
    void post(std::chrono::nanoseconds delay, std::function<void()> fn);
    /// The same for something that dies with a crash of `host`.
    void post(const std::string& host, std::chrono::nanoseconds delay, std::function<void()> fn);

    /// Runs the next event; false if there is none.
    bool step();
    /// Returns the number of events run; max_events means that it may not be idle.
    std::size_t run_until_idle(std::size_t max_events);
    /// Runs what happens within `duration`, and then it is that much later.
    void run_for(std::chrono::nanoseconds duration);

    /// Of every event so far: its time, kind, connection and bytes.
    std::uint64_t event_hash() const;
    std::uint64_t events() const;
    /// Sides of connections whose end the other side has not heard of yet.
    std::size_t open_sides() const;
    /// Frames that were sent and have not left their sender.
    std::size_t unsent_frames() const;

  private:
    std::shared_ptr<SimCore> core_;
};

}  // namespace potluck::transport
