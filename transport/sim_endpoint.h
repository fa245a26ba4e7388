#pragma once

// One side of a simulated connection. Private to sim*.cpp.
//
// A frame's way: outgoing_ (sent, bounded by Limits) -> wire_ (left the sender, under way) -> the
// other side's inbox_ (arrived, waits for a receiver) -> on_head, on_frame. wire_ and the other's
// inbox_ together hold at most the window. A packet without frame says that the sender's side is
// closed.

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "transport/api.h"
#include "transport/sim_core.h"

namespace potluck::transport {

class SimEndpoint : public std::enable_shared_from_this<SimEndpoint> {
  public:
    SimEndpoint(std::shared_ptr<SimCore> core, SimOwner owner, std::uint32_t peer_host,
                const Limits& limits, std::string peer);
    /// Makes two endpoints the sides of one connection; the core keeps them until they ended.
    static void join(const std::shared_ptr<SimEndpoint>& a, const std::shared_ptr<SimEndpoint>& b);
    /// What a user holds: letting go of it closes the connection.
    static std::shared_ptr<Connection> handle(std::shared_ptr<SimEndpoint> endpoint);

    SimOwner owner() const { return owner_; }
    std::uint32_t peer_host() const { return peer_host_; }
    const std::string& peer() const { return peer_; }
    std::size_t unsent_frames() const { return outgoing_.size(); }

    Status send(std::span<const std::byte> head,
                std::span<const std::span<const std::byte>> payload, SendDone done);
    void start(std::shared_ptr<Receiver> receiver);
    void close();
    /// The process is gone: no callback ever. `tell` the other side.
    void die(bool tell);
    void on_healed();
    void on_reset();

  private:
    struct Outgoing {
        std::vector<std::byte> head;
        std::vector<std::span<const std::byte>> pieces;
        std::size_t payload_bytes = 0;
        std::size_t bytes = 0;
        SendDone done;
    };
    struct Packet {
        bool frame = false;
        std::vector<std::byte> head;
        std::vector<std::byte> payload;
        std::size_t bytes = 0;
        SimCore::Time arrival{};
        bool judged = false;  ///< its fate is known
    };

    void schedule(SimCore::Time at, SimEventKind kind, void (SimEndpoint::*what)());
    void transmit();
    void leave();
    void put_on_wire(Packet packet);
    void schedule_arrival();
    void arrive();
    bool meets_its_fate(Packet& packet);
    void hand_over(Packet packet);
    void receive(Packet packet);
    void pump();
    void deliver();
    void deliver_head(Packet& packet, const std::shared_ptr<Receiver>& receiver);
    void deliver_frame(const std::shared_ptr<Receiver>& receiver);
    void fail(Error reason);
    void finish();

    std::shared_ptr<SimCore> core_;
    SimOwner owner_;
    std::uint32_t peer_host_;
    Limits limits_;
    std::string peer_;
    std::uint64_t id_;
    std::weak_ptr<SimEndpoint> other_;

    std::deque<Outgoing> outgoing_;
    std::size_t outgoing_bytes_ = 0;
    bool leaving_ = false;  ///< the first of outgoing_ is being put on the wire
    std::deque<Packet> wire_;
    SimCore::Time last_arrival_{};
    bool arriving_ = false;  ///< the arrival of wire_'s first is scheduled
    bool held_ = false;      ///< by a cut
    std::optional<Packet> overtaken_;
    std::size_t window_used_ = 0;  ///< bytes of wire_ and of the other's inbox_

    std::shared_ptr<Receiver> receiver_;
    std::deque<Packet> inbox_;
    bool pumping_ = false;                         ///< a delivery is scheduled
    std::optional<std::span<std::byte>> payload_;  ///< on_head was called for inbox_'s first
    bool peer_gone_ = false;
    std::optional<Error> closed_;
    bool dead_ = false;
};

}  // namespace potluck::transport
