#include "tools/netshape/network.h"

#include <algorithm>
#include <utility>

#include "base/rng.h"

namespace potluck::netshape {
namespace {

/// How long packets may have to wait for their uplink before the next one is taken.
constexpr nanoseconds kUplinkAhead = std::chrono::microseconds(200);

nanoseconds on_wire(std::size_t bytes, double bits_per_second) {
    return nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(bytes) * 8e9 / bits_per_second));
}

std::optional<std::uint32_t> destination(std::span<const std::byte> packet) {
    constexpr std::size_t kHeader = 20;
    constexpr std::size_t kDestination = 16;
    if (packet.size() < kHeader || std::to_integer<int>(packet[0]) >> 4 != 4) return std::nullopt;
    std::uint32_t address = 0;
    for (std::size_t i = 0; i < 4; ++i)
        address = address << 8 | std::to_integer<std::uint32_t>(packet[kDestination + i]);
    return address;
}

}  // namespace

PortIndex Network::add_port(std::uint32_t address, const PortShape& shape) {
    by_address_[address] = ports_.size();
    ports_.push_back({.shape = shape});
    return ports_.size() - 1;
}

bool Network::accepts(nanoseconds now, PortIndex port) const {
    return now >= accepts_at(port);
}

nanoseconds Network::accepts_at(PortIndex port) const {
    return ports_[port].uplink_free - kUplinkAhead;
}

/// Counts what does not.
bool Network::passes(Port& port) {
    if (!port.shape.up) {
        ++port.counters.down;
        return false;
    }
    if (port.shape.loss > 0 && uniform(seed_, draws_++) < port.shape.loss) {
        ++port.counters.lost;
        return false;
    }
    return true;
}

void Network::send(nanoseconds now, PortIndex from, std::span<const std::byte> packet) {
    Port& port = ports_[from];
    ++port.counters.packets_in;
    port.counters.bytes_in += packet.size();
    const auto address = destination(packet);
    const auto to = address ? by_address_.find(*address) : by_address_.end();
    if (to == by_address_.end()) {
        ++port.counters.strange;
        return;
    }
    if (!passes(port)) return;
    port.uplink_free =
        std::max(now, port.uplink_free) + on_wire(packet.size(), port.shape.bits_per_second);
    under_way_.push({.at = port.uplink_free + port.shape.delay,
                     .order = order_++,
                     .to = to->second,
                     .in_switch = true,
                     .bytes = {packet.begin(), packet.end()}});
}

std::optional<nanoseconds> Network::next() const {
    if (under_way_.empty()) return std::nullopt;
    return under_way_.top().at;
}

void Network::queue_down(Packet packet) {
    Port& port = ports_[packet.to];
    if (!passes(port)) return;
    const nanoseconds begins = std::max(packet.at, port.downlink_free);
    if (begins - packet.at > on_wire(port.shape.queue_bytes, port.shape.bits_per_second)) {
        ++port.counters.overflowed;
        return;
    }
    port.downlink_free = begins + on_wire(packet.bytes.size(), port.shape.bits_per_second);
    packet.at = port.downlink_free + port.shape.delay;
    packet.order = order_++;
    packet.in_switch = false;
    under_way_.push(std::move(packet));
}

void Network::advance(nanoseconds now,
                      const std::function<void(PortIndex, std::span<const std::byte>)>& deliver) {
    while (!under_way_.empty() && under_way_.top().at <= now) {
        Packet packet = under_way_.top();
        under_way_.pop();
        if (packet.in_switch) {
            queue_down(std::move(packet));
            continue;
        }
        Port& port = ports_[packet.to];
        if (!port.shape.up) {
            ++port.counters.down;
            continue;
        }
        ++port.counters.packets_out;
        port.counters.bytes_out += packet.bytes.size();
        deliver(packet.to, packet.bytes);
    }
}

}  // namespace potluck::netshape
