// What befalls a living cluster: the lines of a scenario, drawn, struck and healed.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "proto/frame.h"
#include "tests/sim/living_parts.h"

namespace potluck::sim {

using namespace std::chrono_literals;
using transport::SimFate;

namespace {

constexpr nanoseconds kBeat = 10ms;
/// A connection that lost a frame does not live longer than this.
constexpr std::uint64_t kLastingGap = 10'000'000;
/// A segment that TCP sends again comes so much later.
constexpr std::uint64_t kRetransmission = 40'000'000;

bool is_data_frame(std::span<const std::byte> head) {
    std::uint32_t magic = 0;
    if (head.size() < proto::kFrameHeaderBytes) return false;
    std::memcpy(&magic, head.data(), sizeof magic);
    return magic == proto::kFrameMagic;
}

void flip_bit(std::span<std::byte> bytes, std::uint64_t bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
}

}  // namespace

std::string LivingCluster::host(Who who) const {
    return who.index == Who::kCoordinator ? "coordinator" : fmt::format("node{}", who.index);
}

nanoseconds LivingCluster::draw(const Span& span) {
    const auto range = static_cast<std::uint64_t>((span.max - span.min).count());
    return span.min + nanoseconds(static_cast<std::int64_t>(fault_random_.below(range + 1)));
}

Who LivingCluster::draw(Who who, Who not_this) {
    if (who.index != Who::kAny) return who;
    who.index = fault_random_.below(scenario_.nodes);
    if (who.index == not_this.index) who.index = (who.index + 1) % scenario_.nodes;
    return who;
}

void LivingCluster::begin_faults() {
    for (const auto& line : scenario_.faults)
        network_.post(draw(line.at), [this, &line] { strike(line); });
    if (scenario_.heal) network_.post(*scenario_.heal, [this] { heal(); });
}

void LivingCluster::strike(const FaultLine& line) {
    if (healed_) return;
    FaultLine fault = line;
    // The other end of "any > node1" is not node1.
    fault.who = draw(line.who, line.other);
    fault.other = draw(line.other, fault.who);
    if (line.every) network_.post(draw(*line.every), [this, &line] { strike(line); });
    if (!take_effect(fault)) return;
    const std::uint64_t number = next_fault_++;
    faults_[number] = fault;
    if (line.length) network_.post(draw(*line.length), [this, number] { repair(number); });
}

/// False if it changes nothing that would have to be undone.
bool LivingCluster::take_effect(const FaultLine& f) {
    const std::string a = host(f.who);
    const std::string b = host(f.other);
    switch (f.kind) {
        case FaultKind::kCrash:
        case FaultKind::kPowerOff:
        case FaultKind::kHang:
            return take_down(f);
        case FaultKind::kSlow:
            machines_[f.who.index].slowness = f.amount;
            return true;
        case FaultKind::kNoMemory:
            machines_[f.who.index].no_memory = true;
            machines_[f.who.index].gone |= f.stays;
            return true;
        case FaultKind::kFail: {
            Node* const n = nodes_[f.who.index].get();
            if (n != nullptr && n->up && n->stage) fail(*n);
            return false;
        }
        case FaultKind::kCut:
            network_.cut_one_way(a, b);
            if (f.both_ways) network_.cut_one_way(b, a);
            // Whoever the coordinator cannot talk with is of no use to it.
            if (f.stays && f.who.index == Who::kCoordinator) machines_[f.other.index].gone = true;
            if (f.stays && f.other.index == Who::kCoordinator) machines_[f.who.index].gone = true;
            return true;
        case FaultKind::kClog: {
            auto link = scenario_.base.network.link;
            link.bytes_per_second = f.amount;
            network_.set_link(a, b, link);
            return true;
        }
        case FaultKind::kClock:
            clock_ahead_ += f.by;
            return false;
        case FaultKind::kJoin:
            if (!machines_[f.who.index].absent) return false;
            machines_[f.who.index].absent = false;
            if (!all_ended()) count(Seen::kLateJoins);
            boot(f.who.index);
            return false;
        default:
            tamper(f);
            return true;
    }
}

/// Of a process, or of a whole machine.
bool LivingCluster::take_down(const FaultLine& f) {
    if (f.who.index == Who::kCoordinator) {
        if (!up_ || paused_) return false;
        if (f.kind == FaultKind::kHang) {
            paused_ = true;
            network_.pause("coordinator");
            return true;
        }
        up_ = false;
        count_rows();
        network_.crash("coordinator");
        listeners_.clear();
        peers_.clear();
        greeting_.clear();
        to_first_.reset();
        from_last_.reset();
        cut_off_clients();
        return true;
    }
    Machine& machine = machines_[f.who.index];
    if (machine.absent || !nodes_[f.who.index]->up) return false;
    Node& n = *nodes_[f.who.index];
    n.up = false;
    machine.gone |= f.stays;
    if (f.kind == FaultKind::kHang) {
        network_.pause(n.host);
        return true;
    }
    if (f.kind == FaultKind::kCrash) network_.crash(n.host);
    if (f.kind == FaultKind::kPowerOff) network_.power_off(n.host);
    n.stage.reset();
    n.control.reset();
    return true;
}

void LivingCluster::repair(std::uint64_t number) {
    const auto found = faults_.find(number);
    if (found == faults_.end()) return;
    const FaultLine fault = found->second;
    faults_.erase(found);
    undo(fault);
}

void LivingCluster::undo(const FaultLine& f) {
    const std::string a = host(f.who);
    const std::string b = host(f.other);
    switch (f.kind) {
        case FaultKind::kHang:
            network_.resume(a);
            if (f.who.index == Who::kCoordinator) {
                paused_ = false;
            } else {
                nodes_[f.who.index]->up = true;
            }
            return;
        case FaultKind::kCrash:
        case FaultKind::kPowerOff:
            if (f.who.index != Who::kCoordinator) return boot(f.who.index);
            start_coordinator();
            for (const auto* r : std::exchange(waiting_, {}))
                ask(*r);
            return;
        case FaultKind::kSlow:
            machines_[f.who.index].slowness = 1;
            return;
        case FaultKind::kNoMemory:
            machines_[f.who.index].no_memory = false;
            return;
        case FaultKind::kCut:
            return network_.heal(a, b);
        case FaultKind::kClog:
            return network_.set_link(a, b, scenario_.base.network.link);
        case FaultKind::kClock:
        case FaultKind::kFail:
        case FaultKind::kJoin:
            return;
        default:
            network_.tamper(a, b, nullptr);
            if (f.both_ways) network_.tamper(b, a, nullptr);
            return;
    }
}

/// Nothing befalls anybody any more; what stays, stays.
void LivingCluster::heal() {
    healed_ = true;
    std::vector<std::uint64_t> over;
    for (const auto& [number, fault] : faults_)
        if (!fault.stays) over.push_back(number);
    for (const auto number : over)
        repair(number);
}

void LivingCluster::tamper(const FaultLine& f) {
    const auto lay_on = [&](const std::string& from, const std::string& to) {
        network_.tamper(from, to, [this, f, from, to](auto head, auto payload) -> SimFate {
            const bool batches = f.kind == FaultKind::kDuplicate || f.kind == FaultKind::kReorder ||
                                 f.kind == FaultKind::kGarble;
            if (batches && !is_data_frame(head)) return {};
            if (!fault_random_.one_in(f.amount)) return {};
            count(Seen::kTampered);
            switch (f.kind) {
                case FaultKind::kDrop: {
                    const nanoseconds soon(fault_random_.below(kLastingGap));
                    network_.post(soon, [this, from, to] { network_.reset(from, to); });
                    return {.kind = SimFate::Kind::kIsLost};
                }
                case FaultKind::kLate:
                    return {.kind = SimFate::Kind::kIsLate,
                            .delay = nanoseconds(fault_random_.below(kRetransmission))};
                case FaultKind::kDuplicate:
                    return {.kind = SimFate::Kind::kComesTwice};
                case FaultKind::kReorder:
                    return {.kind = SimFate::Kind::kIsOvertaken};
                case FaultKind::kGarble:
                    flip_bit(head, fault_random_.below(proto::kFrameHeaderBytes * 8));
                    return {};
                default: {
                    // Whatever changed, TLS notices it.
                    const auto all = payload.empty() ? head : payload;
                    flip_bit(all, fault_random_.below(all.size() * 8));
                    return {.kind = SimFate::Kind::kIsBroken};
                }
            }
        });
    };
    lay_on(host(f.who), host(f.other));
    if (f.both_ways) lay_on(host(f.other), host(f.who));
}

/// Everybody's timers. Whoever is stopped has none.
void LivingCluster::beat() {
    network_.post(kBeat, [this] { beat(); });
    beat_of_nodes();
    if (up_ && !paused_) beat_of_coordinator();
}

}  // namespace potluck::sim
