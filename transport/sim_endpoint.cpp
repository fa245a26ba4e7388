#include "transport/sim_endpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "transport/framing.h"

namespace potluck::transport {
namespace {

class SimConnection final : public Connection {
  public:
    explicit SimConnection(std::shared_ptr<SimEndpoint> endpoint)
        : endpoint_(std::move(endpoint)) {}
    ~SimConnection() override { endpoint_->close(); }
    SimConnection(const SimConnection&) = delete;
    SimConnection& operator=(const SimConnection&) = delete;

    Status send(std::span<const std::byte> head,
                std::span<const std::span<const std::byte>> payload, SendDone done) override {
        return endpoint_->send(head, payload, std::move(done));
    }
    void start(std::shared_ptr<Receiver> receiver) override {
        endpoint_->start(std::move(receiver));
    }
    void close() override { endpoint_->close(); }
    std::string peer() const override { return endpoint_->peer(); }

  private:
    std::shared_ptr<SimEndpoint> endpoint_;
};

}  // namespace

SimEndpoint::SimEndpoint(std::shared_ptr<SimCore> core, SimOwner owner, std::uint32_t peer_host,
                         const Limits& limits, std::string peer)
    : core_(std::move(core)),
      owner_(owner),
      peer_host_(peer_host),
      limits_(limits),
      peer_(std::move(peer)),
      id_(core_->next_id()) {}

void SimEndpoint::join(const std::shared_ptr<SimEndpoint>& a,
                       const std::shared_ptr<SimEndpoint>& b) {
    a->other_ = b;
    b->other_ = a;
    a->core_->add(a->id_, a);
    b->core_->add(b->id_, b);
}

std::shared_ptr<Connection> SimEndpoint::handle(std::shared_ptr<SimEndpoint> endpoint) {
    return std::make_shared<SimConnection>(std::move(endpoint));
}

void SimEndpoint::schedule(SimCore::Time at, SimEventKind kind, void (SimEndpoint::*what)()) {
    // What is under way belongs to the network and survives its sender.
    const SimOwner owner = kind == SimEventKind::kArrive ? SimOwner{} : owner_;
    core_->schedule(at, owner, kind, id_, [self = shared_from_this(), what] { (*self.*what)(); });
}

Status SimEndpoint::send(std::span<const std::byte> head,
                         std::span<const std::span<const std::byte>> payload, SendDone done) {
    if (closed_ || peer_gone_) {
        return error(ErrorCode::kPeerLost,
                     fmt::format("send to {}: the connection is closed", peer_));
    }
    const std::size_t payload_bytes = total_bytes(payload);
    if (auto fits =
            check_send(limits_, head.size(), payload_bytes, outgoing_.size(), outgoing_bytes_);
        !fits) {
        return with_context(std::move(fits.error()), "send to " + peer_);
    }
    const std::size_t bytes = kPreambleBytes + head.size() + payload_bytes;
    outgoing_.push_back({{head.begin(), head.end()},
                         {payload.begin(), payload.end()},
                         payload_bytes,
                         bytes,
                         std::move(done)});
    outgoing_bytes_ += bytes;
    transmit();
    return {};
}

/// Begins to put the next frame on the wire if the window has room.
void SimEndpoint::transmit() {
    if (leaving_ || closed_ || outgoing_.empty()) return;
    const std::size_t bytes = outgoing_.front().bytes;
    if (window_used_ > 0 && window_used_ + bytes > core_->window_bytes()) return;
    leaving_ = true;
    schedule(core_->departure(owner_.host, peer_host_, bytes), SimEventKind::kLeave,
             &SimEndpoint::leave);
}

void SimEndpoint::leave() {
    leaving_ = false;
    if (closed_) return;
    Outgoing sent = std::move(outgoing_.front());
    outgoing_.pop_front();
    outgoing_bytes_ -= sent.bytes;
    Packet packet;
    packet.frame = true;
    packet.head = std::move(sent.head);
    packet.payload.reserve(sent.payload_bytes);
    for (const auto piece : sent.pieces)
        packet.payload.insert(packet.payload.end(), piece.begin(), piece.end());
    packet.bytes = sent.bytes;
    window_used_ += sent.bytes;
    put_on_wire(std::move(packet));
    if (sent.done) sent.done({});
    transmit();
}

void SimEndpoint::put_on_wire(Packet packet) {
    // Nothing overtakes what left before it.
    last_arrival_ =
        std::max(last_arrival_, core_->now() + core_->draw_delay(owner_.host, peer_host_));
    packet.arrival = last_arrival_;
    wire_.push_back(std::move(packet));
    schedule_arrival();
}

void SimEndpoint::schedule_arrival() {
    if (arriving_ || held_ || wire_.empty()) return;
    arriving_ = true;
    schedule(wire_.front().arrival, SimEventKind::kArrive, &SimEndpoint::arrive);
}

void SimEndpoint::arrive() {
    arriving_ = false;
    if (wire_.empty()) return;
    if (core_->is_cut(owner_.host, peer_host_)) {
        held_ = true;
        return;
    }
    Packet packet = std::move(wire_.front());
    wire_.pop_front();
    if (packet.frame && !packet.judged && !meets_its_fate(packet)) return schedule_arrival();
    auto overtaken = std::exchange(overtaken_, std::nullopt);
    // Nothing comes after the end.
    if (overtaken && !packet.frame) hand_over(*std::exchange(overtaken, std::nullopt));
    hand_over(std::move(packet));
    if (overtaken) hand_over(std::move(*overtaken));
    schedule_arrival();
}

/// Whether it arrives now.
bool SimEndpoint::meets_its_fate(Packet& packet) {
    const SimFate fate = core_->fate(owner_.host, peer_host_, packet.head, packet.payload);
    packet.judged = true;
    switch (fate.kind) {
        case SimFate::Kind::kArrives:
            return true;
        case SimFate::Kind::kIsLate:
            packet.arrival = core_->now() + fate.delay;
            last_arrival_ = std::max(last_arrival_, packet.arrival);
            wire_.push_front(std::move(packet));
            return false;
        case SimFate::Kind::kIsLost:
            window_used_ -= packet.bytes;
            transmit();
            return false;
        case SimFate::Kind::kComesTwice: {
            Packet copy = packet;
            copy.bytes = 0;  // of the window
            hand_over(std::move(copy));
            return true;
        }
        case SimFate::Kind::kIsOvertaken:
            if (wire_.empty() || overtaken_) return true;
            overtaken_ = std::move(packet);
            return false;
        case SimFate::Kind::kIsBroken:
            if (const auto other = other_.lock())
                other->fail({ErrorCode::kCorrupt, "from " + other->peer_ + ": bytes have changed"});
            return false;
    }
    return true;
}

void SimEndpoint::hand_over(Packet packet) {
    core_->mix(packet.head);
    core_->mix(packet.payload);
    if (!packet.frame) core_->remove(id_);
    if (const auto other = other_.lock()) other->receive(std::move(packet));
}

void SimEndpoint::on_healed() {
    if (!held_) return;
    held_ = false;
    wire_.front().arrival = core_->now() + core_->draw_delay(owner_.host, peer_host_);
    last_arrival_ = std::max(last_arrival_, wire_.front().arrival);
    schedule_arrival();
}

void SimEndpoint::on_reset() {
    fail({ErrorCode::kPeerLost, peer_ + " does not answer any more"});
}

void SimEndpoint::receive(Packet packet) {
    if (closed_) return;
    const bool gone = !packet.frame;
    inbox_.push_back(std::move(packet));
    if (gone) {
        peer_gone_ = true;
        // With nobody to read, it is the failing write that ends a connection.
        if (!receiver_ && !outgoing_.empty()) {
            return fail({ErrorCode::kPeerLost, peer_ + " closed the connection"});
        }
    }
    pump();
}

void SimEndpoint::start(std::shared_ptr<Receiver> receiver) {
    if (dead_) return;
    receiver_ = std::move(receiver);
    if (!receiver_) return;
    if (closed_) {
        schedule(core_->now(), SimEventKind::kFinish, &SimEndpoint::finish);
    } else {
        pump();
    }
}

/// One callback is one event, so that others may come between the parts of a frame.
void SimEndpoint::pump() {
    if (pumping_ || closed_ || !receiver_ || inbox_.empty()) return;
    pumping_ = true;
    schedule(core_->now(), SimEventKind::kDeliver, &SimEndpoint::deliver);
}

void SimEndpoint::deliver() {
    pumping_ = false;
    if (closed_ || !receiver_ || inbox_.empty()) return;
    const auto receiver = receiver_;  // a callback may replace it
    Packet& packet = inbox_.front();
    if (!packet.frame) return fail({ErrorCode::kPeerLost, peer_ + " closed the connection"});
    if (!payload_) {
        deliver_head(packet, receiver);
    } else {
        deliver_frame(receiver);
    }
    pump();
}

void SimEndpoint::deliver_head(Packet& packet, const std::shared_ptr<Receiver>& receiver) {
    const auto refuse = [&](Error reason) {
        reason.message.insert(0, fmt::format("from {}: ", peer_));
        fail(std::move(reason));
    };
    if (auto valid = check_claim(limits_, packet.head.size(), packet.payload.size()); !valid) {
        return refuse(std::move(valid.error()));
    }
    payload_ = std::span<std::byte>();
    if (packet.payload.empty()) return;
    const std::vector<std::byte> head =
        packet.head;  // the callback may close us, and with it inbox_
    const std::size_t bytes = packet.payload.size();
    auto space = receiver->on_head(head, bytes);
    if (closed_) return;
    if (!space) return refuse(std::move(space.error()));
    if (space->size() != bytes) {
        return refuse({ErrorCode::kInternal,
                       fmt::format("the receiver gave {} bytes of space for a payload of {}",
                                   space->size(), bytes)});
    }
    payload_ = *space;
}

void SimEndpoint::deliver_frame(const std::shared_ptr<Receiver>& receiver) {
    const Packet packet = std::move(inbox_.front());
    inbox_.pop_front();
    const auto payload = *std::exchange(payload_, std::nullopt);
    std::copy(packet.payload.begin(), packet.payload.end(), payload.begin());
    if (const auto other = other_.lock()) {
        other->window_used_ -= packet.bytes;
        other->transmit();
    }
    if (auto taken = receiver->on_frame(packet.head, payload); !taken) {
        taken.error().message.insert(0, fmt::format("from {}: ", peer_));
        fail(std::move(taken.error()));
    }
}

void SimEndpoint::close() {
    fail({ErrorCode::kCancelled, "closed the connection to " + peer_});
}

void SimEndpoint::fail(Error reason) {
    if (closed_) return;
    closed_ = std::move(reason);
    inbox_.clear();
    put_on_wire({});
    schedule(core_->now(), SimEventKind::kFinish, &SimEndpoint::finish);
}

void SimEndpoint::finish() {
    const auto unsent = std::exchange(outgoing_, {});
    for (const Outgoing& frame : unsent)
        if (frame.done) frame.done(tl::make_unexpected(*closed_));
    if (const auto receiver = std::exchange(receiver_, nullptr)) receiver->on_closed(*closed_);
}

void SimEndpoint::die(bool tell) {
    const bool was_open = !closed_;
    dead_ = true;
    closed_ = Error{ErrorCode::kPeerLost, "this host crashed"};
    // Their destructors may come back to this connection.
    const auto unsent = std::exchange(outgoing_, {});
    const auto receiver = std::exchange(receiver_, nullptr);
    inbox_.clear();
    if (was_open && tell) put_on_wire({});
    if (!tell) core_->remove(id_);
}

}  // namespace potluck::transport
