// The coordinator of a living cluster, its clients, and what is checked.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "proto/frame.h"
#include "tests/sim/living_parts.h"
#include "tests/sim/oracle.h"

namespace potluck::sim {

using namespace std::chrono_literals;
using namespace coordinator;

namespace {

constexpr nanoseconds kBeat = 10ms;
constexpr nanoseconds kMostTime = 120s;  ///< of one scenario; more means that it never ends
/// Of a worker, so that `least` nodes can hold the layers, if that is more than one.
std::uint64_t free_bytes(const LivingScenario& scenario, std::size_t layers) {
    if (scenario.least <= 1) return std::uint64_t{1} << 40;
    const std::size_t most = (layers + scenario.least - 1) / scenario.least;
    // What a plan may use is 85 % of it; the KV cache of one short context is small.
    return (most * kSimLayerBytes + kSimLayerBytes / 2) * 100 / 85;
}

}  // namespace

void LivingCluster::accept_control(std::shared_ptr<transport::Connection> connection) {
    const std::uint64_t id = next_peer_++;
    auto peer = std::make_unique<Peer>();
    peer->link = connection;
    peers_[id] = std::move(peer);
    auto receiver = std::make_shared<Receiver>();
    receiver->frame = [this, id](std::span<const std::byte> head, bool) -> Status {
        if (peers_.contains(id)) on_control(id, read_message<Message>(head));
        return {};
    };
    receiver->closed = [this, id] { lose(id); };
    connection->start(receiver);
}

void LivingCluster::lose(std::uint64_t id) {
    const auto found = peers_.find(id);
    if (found == peers_.end()) return;
    const NodeId node = found->second->node;
    found->second->link->close();
    peers_.erase(found);
    if (node.value == 0) return;
    DeploymentActions actions;
    deployment_.on_node_left(node, "gone", actions);
    act(actions);
}

void LivingCluster::on_control(std::uint64_t id, const Message& m) {
    Peer& peer = *peers_.at(id);
    peer.heart.heard();
    DeploymentActions actions;
    switch (m.kind) {
        case kRegister: {
            const NodeId node(m.node);
            const auto same = [&](const auto& p) { return p.second->node == node; };
            // The one before is dead and we do not know it yet: come again.
            if (std::any_of(peers_.begin(), peers_.end(), same)) return lose(id);
            peer.node = node;
            NodeOffer offer{
                .node = node, .name = fmt::format("node{}", m.node - 1), .last_epoch = m.epoch};
            std::size_t layers = 0;
            for (const auto n : scenario_.base.layers)
                layers += n;
            offer.devices.push_back({"sim", "sim-1", free_bytes(scenario_, layers)});
            deployment_.on_node_joined(std::move(offer), actions);
            break;
        }
        case kPrepared:
            deployment_.on_prepared(
                Epoch(m.epoch), peer.node, "",
                {{StageIndex(m.stage), scenario_.base.limits.kv_pages, m.kept != 0}}, actions);
            break;
        case kConnected:
            deployment_.on_connected(Epoch(m.epoch), peer.node, "", actions);
            break;
        case kFailed:
            deployment_.on_failure(Epoch(m.epoch), {ErrorCode::kPeerLost, "a stage failed"},
                                   actions);
            break;
        default:
            break;
    }
    act(actions);
}

void LivingCluster::send_to(NodeId node, const Message& message, const KeptSequences& kept) {
    std::vector<std::byte> head(sizeof message + 16 * kept.size());
    std::memcpy(head.data(), &message, sizeof message);
    std::size_t at = sizeof message;
    for (const auto& sequence : kept) {
        const std::uint64_t values[2] = {sequence.seq.value, sequence.positions};
        std::memcpy(head.data() + at, values, sizeof values);
        at += sizeof values;
    }
    for (const auto& [id, peer] : peers_) {
        if (peer->node != node) continue;
        [[maybe_unused]] const auto sent = peer->link->send(head, {}, {});
    }
}

void LivingCluster::act(const DeploymentActions& actions) {
    for (const auto& action : actions) {
        if (const auto* prepare = std::get_if<PrepareNodes>(&action)) {
            const auto& stages = prepare->plan.stages;
            for (std::size_t i = 0; i < stages.size(); ++i) {
                const bool last = i + 1 == stages.size();
                send_to(stages[i].node,
                        {.kind = kPrepare,
                         .epoch = prepare->plan.epoch.value,
                         .stage = static_cast<std::uint32_t>(i),
                         .stages = static_cast<std::uint32_t>(stages.size()),
                         .begin = stages[i].part.begin,
                         .end = stages[i].part.end,
                         .next = last ? kToCoordinator : stages[i + 1].node.value,
                         .kept_epoch = prepare->plan.kept_epoch.value,
                         .kept_from = prepare->plan.kept_from},
                        scheduler_.kept());
            }
        } else if (const auto* connect = std::get_if<ConnectNodes>(&action)) {
            const auto& plan = connect->plan;
            for (const auto& stage : plan.stages)
                send_to(stage.node, {.kind = kConnect, .epoch = plan.epoch.value});
            const std::string first = fmt::format("node{}:1", plan.stages.front().node.value - 1);
            transport_->dial(first, {}, 50ms, [this, epoch = plan.epoch](auto made) {
                if (!deployment_.plan() || deployment_.plan()->epoch != epoch) return;
                if (!made) return broken(epoch);
                to_first_ = std::move(*made);
                auto receiver = std::make_shared<Receiver>();
                receiver->closed = [this, epoch] { broken(epoch); };
                to_first_->start(receiver);
                const Message greeting{.kind = kGreeting, .epoch = epoch.value, .stage = 0};
                if (!to_first_->send(std::as_bytes(std::span(&greeting, 1)), {}, {}))
                    return broken(epoch);
                if (!from_last_) return;
                DeploymentActions more;
                deployment_.on_links_open(epoch, more);
                act(more);
            });
        } else if (const auto* start = std::get_if<StartPipeline>(&action)) {
            start_pipeline(start->plan);
        } else {
            if (to_first_) to_first_->close();
            if (from_last_) from_last_->close();
            to_first_.reset();
            from_last_.reset();
            greeting_.clear();
            scheduler_.set_time(network_.now());
            scheduler_.suspend();
        }
    }
}

void LivingCluster::accept_results(std::shared_ptr<transport::Connection> connection) {
    auto receiver = std::make_shared<Receiver>();
    const auto epoch = std::make_shared<Epoch>();
    greeting_.push_back(connection);
    receiver->frame = [this, epoch, weak = std::weak_ptr(connection)](
                          std::span<const std::byte> head, bool) -> Status {
        if (epoch->value != 0) {
            on_result(*epoch, head);
            return {};
        }
        *epoch = Epoch(read_message<Message>(head).epoch);
        if (!deployment_.plan() || deployment_.plan()->epoch != *epoch || from_last_)
            return error(ErrorCode::kCancelled, "no results of this epoch are expected");
        from_last_ = weak.lock();
        if (!to_first_) return {};
        DeploymentActions actions;
        deployment_.on_links_open(*epoch, actions);
        act(actions);
        return {};
    };
    receiver->closed = [this, epoch, weak = std::weak_ptr(connection)] {
        std::erase(greeting_, weak.lock());
        broken(*epoch);
    };
    connection->start(receiver);
}

void LivingCluster::start_pipeline(const Plan& plan) {
    ++outcome_.sabotaged;
    PipelineLimits limits = scenario_.base.limits;
    limits.stages = plan.stages.size();
    limits.costs.clear();
    limits.kept = kept_pages(plan);
    SchedulerActions actions;
    scheduler_.start(limits, actions);
    act(actions);
    deployment_.on_warm(plan.epoch);
    if (outcome_.sabotaged > 1) return;
    for (const auto& r : scenario_.base.requests) {
        network_.post(r.at, [this, &r] { submit(r); });
        if (!r.hangs_up) continue;
        network_.post(*r.hangs_up, [this, id = r.id] {
            auto& log = outcome_.clients[id];
            if (log.endings == 0) log.hung_up = true;
            SchedulerActions ended;
            scheduler_.cancel(id, ended);
            act(ended);
        });
    }
    for (const auto& fault : scenario_.faults)
        network_.post(fault.at, [this, fault] { strike(fault); });
}

void LivingCluster::broken(Epoch epoch) {
    DeploymentActions actions;
    deployment_.on_failure(epoch, {ErrorCode::kPeerLost, "a link is lost"}, actions);
    act(actions);
}

void LivingCluster::on_result(Epoch epoch, std::span<const std::byte> head) {
    if (!deployment_.plan() || !scheduler_.running()) return;
    if (epoch != deployment_.plan()->epoch) return;
    proto::FrameHeader header;
    if (auto decoded = proto::decode_result(head, header, result_); !decoded)
        return problem(decoded.error().message);
    SchedulerActions actions;
    auto taken = scheduler_.on_result(result_, actions);
    act(actions);
    if (!taken) problem(taken.error().message);
}

/// Everybody's timers.
void LivingCluster::beat() {
    network_.post(kBeat, [this] { beat(); });
    const Message ping{.kind = kPing};
    for (auto& node : nodes_) {
        if (!node->control) continue;
        if (!node->heart.beat() && neglect_ != Neglect::kHeartbeat) {
            on_lost(*node);
        } else {
            tell(*node, ping);
        }
    }
    std::vector<std::uint64_t> silent;
    for (auto& [id, peer] : peers_) {
        if (!peer->heart.beat() && neglect_ != Neglect::kHeartbeat) silent.push_back(id);
        [[maybe_unused]] const auto sent =
            peer->link->send(std::as_bytes(std::span(&ping, 1)), {}, {});
    }
    for (const auto id : silent)
        lose(id);
    DeploymentActions actions;
    deployment_.on_time(network_.now(),
                        scheduler_.active_sequences() == 0 && scheduler_.waiting() == 0, actions);
    act(actions);
    SchedulerActions ends;
    scheduler_.set_time(network_.now());
    scheduler_.give_up_if_late(deployment_.status(), ends);
    act(ends);
}

// ---------------------------------------------------------------------------------------- clients

void LivingCluster::submit(const ScenarioRequest& r) {
    auto& log = outcome_.clients[r.id];
    if (log.hung_up) return;
    log.submitted = true;
    log.choices.resize(r.request.n);
    SchedulerActions actions;
    if (auto taken = scheduler_.submit(r.id, r.request, actions); !taken) {
        ++log.endings;
        log.error = taken.error();
    }
    act(actions);
}

ClientLog* LivingCluster::open_log(RequestId id, const char* what) {
    const auto found = outcome_.clients.find(id);
    if (found == outcome_.clients.end() || found->second.endings > 0 || found->second.hung_up) {
        problem(fmt::format("request {}: {} after its end", id.value, what));
        return nullptr;
    }
    return &found->second;
}

void LivingCluster::act(SchedulerActions& actions) {
    for (auto& action : actions) {
        if (const auto* send = std::get_if<SendBatch>(&action)) {
            if (!to_first_) continue;
            const Epoch epoch = deployment_.plan()->epoch;
            ++outcome_.batches;
            proto::encode_rows({epoch, PipelineId(0), StageIndex(0)}, send->batch, 0, head_);
            if (!to_first_->send(head_, {}, {})) broken(epoch);
        } else if (const auto* cancel = std::get_if<SendCancel>(&action)) {
            if (!deployment_.plan()) continue;
            for (const auto& stage : deployment_.plan()->stages) {
                send_to(stage.node, {.kind = kCancel,
                                     .epoch = deployment_.plan()->epoch.value,
                                     .generation = cancel->generation,
                                     .seq = cancel->seq.value});
            }
        } else if (const auto* delta = std::get_if<EmitDelta>(&action)) {
            if (ClientLog* log = open_log(delta->request, "text")) {
                auto& choice = log->choices.at(delta->delta.choice);
                choice.text += delta->delta.text;
                choice.tokens.insert(choice.tokens.end(), delta->delta.tokens.begin(),
                                     delta->delta.tokens.end());
            }
        } else if (const auto* finish = std::get_if<EmitFinish>(&action)) {
            if (ClientLog* log = open_log(finish->request, "a finish"))
                log->choices.at(finish->choice).finished = finish->reason;
        } else if (const auto* done = std::get_if<EmitDone>(&action)) {
            if (ClientLog* log = open_log(done->request, "an end")) {
                ++log->endings;
                log->usage = done->usage;
            }
        } else if (const auto* failed = std::get_if<EmitError>(&action)) {
            if (ClientLog* log = open_log(failed->request, "an error")) {
                ++log->endings;
                log->error = failed->error;
            }
        }
    }
}

// ----------------------------------------------------------------------------------------- checks

bool LivingCluster::all_ended() const {
    if (outcome_.clients.size() < scenario_.base.requests.size()) return false;
    return std::all_of(outcome_.clients.begin(), outcome_.clients.end(), [](const auto& client) {
        return client.second.endings > 0 || client.second.hung_up;
    });
}

void LivingCluster::check_end() {
    if (scheduler_.in_flight() != 0 || scheduler_.waiting() != 0 ||
        scheduler_.active_sequences() != 0)
        problem("something is left at the end");
    if (!deployment_.plan()) return problem("all are there, and there is no pipeline");
    // All that are there are used, and hold what the coordinator thinks.
    const auto& stages = deployment_.plan()->stages;
    std::size_t layers = 0;
    for (const auto n : scenario_.base.layers)
        layers += n;
    if (stages.size() != std::min(scenario_.nodes, layers))
        problem(fmt::format("{} nodes are used at the end", stages.size()));
    for (const auto& stage : stages) {
        const Node& n = *nodes_[stage.node.value - 1];
        if (!n.stage || n.plan.epoch != deployment_.plan()->epoch.value) {
            problem(n.host + " has no stage at the end");
            continue;
        }
        if (n.model->pages().sequence_count() != scheduler_.kept_sequences())
            problem(fmt::format("{} has {} sequences at the end, {} are kept", n.host,
                                n.model->pages().sequence_count(), scheduler_.kept_sequences()));
        const auto in_use = [](const engine::PageTable& pages) {
            return pages.page_count() - pages.free_pages();
        };
        if (in_use(n.model->pages()) > in_use(*scheduler_.pages()))
            problem(n.host + " has more pages in use at the end than the scheduler knows of");
    }
}

Outcome LivingCluster::run() {
    listeners_.push_back(std::move(*transport_->listen(
        "coordinator:1", {}, [this](auto connection) { accept_control(connection); })));
    listeners_.push_back(std::move(*transport_->listen(
        "coordinator:2", {}, [this](auto connection) { accept_results(connection); })));
    for (std::size_t i = 0; i < scenario_.nodes; ++i)
        boot(i);
    beat();
    while (!all_ended() && network_.now() < kMostTime && outcome_.problems.empty())
        network_.run_for(5ms);
    // Everybody is back, and taken in.
    network_.run_for(2s);
    if (outcome_.problems.empty()) check_end();
    outcome_.counters = scheduler_.counters();
    outcome_.event_hash = network_.event_hash();
    return outcome_;
}

}  // namespace potluck::sim
