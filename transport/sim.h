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
    void heal(const std::string& a, const std::string& b);
    /// Every connection between a and b ends with kPeerLost on both sides, as keepalive would do in
    /// a long cut.
    void reset(const std::string& a, const std::string& b);
    /// The process is gone: nothing of it is called any more, what it sent arrives, then its peers
    /// see kPeerLost, and dials are refused.
    void crash(const std::string& host);
    /// The machine is gone: as crash, but peers hear nothing and dials time out.
    void power_off(const std::string& host);

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

  private:
    std::shared_ptr<SimCore> core_;
};

}  // namespace potluck::transport
