#pragma once

// A switched network as numbers: packets come in at a port, take their time, and go out at another.
// Pure: no clock, no socket; times are what the caller says, from any zero.
//
//     machine ──uplink──► switch ──downlink──► machine
//
// Each direction of a port is a wire of its own: it carries one packet after another at the port's
// rate (a token bucket of one packet), and each takes the port's delay besides. What waits for an
// uplink waits in its machine, as with a real network card: ask accepts() before the next packet is
// taken. What waits for a downlink waits in the switch, `queue_bytes` at most; more is dropped.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <span>
#include <vector>

namespace potluck::netshape {

using std::chrono::nanoseconds;

struct PortShape {
    double bits_per_second = 1e9;
    nanoseconds delay{75'000};  ///< one way, between the machine and the switch
    double loss = 0;            ///< share of packets that vanish, in each direction
    bool up = true;             ///< a port that is down passes nothing either way, and says nothing
    std::size_t queue_bytes = 512 << 10;
};

struct PortCounters {
    std::uint64_t packets_in = 0;  ///< from the machine
    std::uint64_t bytes_in = 0;
    std::uint64_t packets_out = 0;  ///< to the machine
    std::uint64_t bytes_out = 0;
    std::uint64_t lost = 0;        ///< by chance
    std::uint64_t overflowed = 0;  ///< no room in the switch
    std::uint64_t down = 0;        ///< the port was down
    std::uint64_t strange = 0;     ///< no IPv4 packet, or to an address that no port has
};

using PortIndex = std::size_t;

class Network {
  public:
    explicit Network(std::uint64_t seed) : seed_(seed) {}

    /// `address`: IPv4, in host order.
    PortIndex add_port(std::uint32_t address, const PortShape& shape);
    std::size_t ports() const { return ports_.size(); }
    const PortShape& shape(PortIndex port) const { return ports_[port].shape; }
    /// For packets that come from now on; those that are under way to a port that goes down are
    /// gone.
    void reshape(PortIndex port, const PortShape& shape) { ports_[port].shape = shape; }
    const PortCounters& counters(PortIndex port) const { return ports_[port].counters; }

    /// Whether the uplink has room for a packet now; else when it will.
    bool accepts(nanoseconds now, PortIndex port) const;
    nanoseconds accepts_at(PortIndex port) const;
    /// A packet from the machine at `from`.
    void send(nanoseconds now, PortIndex from, std::span<const std::byte> packet);
    /// When the next packet moves; nothing if none is under way.
    std::optional<nanoseconds> next() const;
    /// Hands over all packets that have arrived by `now`, in the order of their arrival.
    void advance(nanoseconds now,
                 const std::function<void(PortIndex, std::span<const std::byte>)>& deliver);

  private:
    struct Port {
        PortShape shape;
        PortCounters counters;
        nanoseconds uplink_free{};
        nanoseconds downlink_free{};
    };
    struct Packet {
        nanoseconds at{};
        std::uint64_t order = 0;
        PortIndex to = 0;
        bool in_switch = false;  ///< on its way there; else to the machine
        std::vector<std::byte> bytes;
    };
    struct Later {
        bool operator()(const Packet& a, const Packet& b) const {
            return a.at != b.at ? a.at > b.at : a.order > b.order;
        }
    };

    bool passes(Port& port);
    void queue_down(Packet packet);

    std::uint64_t seed_;
    std::uint64_t draws_ = 0;
    std::uint64_t order_ = 0;
    std::vector<Port> ports_;
    std::map<std::uint32_t, PortIndex> by_address_;
    std::priority_queue<Packet, std::vector<Packet>, Later> under_way_;
};

}  // namespace potluck::netshape
