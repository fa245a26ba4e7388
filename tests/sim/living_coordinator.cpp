// The coordinator of a living cluster.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "proto/control.h"
#include "proto/frame.h"
#include "tests/sim/drafts.h"
#include "tests/sim/living_parts.h"
#include "tests/sim/oracle.h"

namespace potluck::sim {

using namespace std::chrono_literals;
using namespace coordinator;

namespace {

DeploymentOptions deployment_options(const LivingScenario& scenario, std::size_t workers,
                                     std::uint64_t first_epoch) {
    DeploymentOptions options{.workers = workers};
    options.plan.context = static_cast<std::uint32_t>(scenario.base.limits.context);
    options.plan.slots = 1;
    options.first_epoch = first_epoch;
    options.settle = 2ms;
    options.first_retry = 5ms;
    options.longest_retry = 50ms;
    options.stable = 100ms;
    return options;
}

model::ModelConfig model_config(const LivingScenario& scenario) {
    model::ModelConfig config;
    config.n_layers = layers_of(scenario);
    config.context_length = 4096;
    config.kv_heads = 1;
    config.head_dim = 4;
    return config;
}

model::Footprint footprint(const LivingScenario& scenario) {
    model::Footprint f;
    f.layer_bytes.assign(layers_of(scenario), kSimLayerBytes);
    return f;
}

/// Of a worker, so that `least` nodes can hold the layers, if that is more than one.
std::uint64_t free_bytes(const LivingScenario& scenario) {
    if (scenario.least <= 1) return std::uint64_t{1} << 40;
    const std::size_t most = (layers_of(scenario) + scenario.least - 1) / scenario.least;
    // What a plan may use is 85 % of it; the KV cache of one short context is small.
    return (most * kSimLayerBytes + kSimLayerBytes / 2) * 100 / 85;
}

}  // namespace

/// A new process, which knows what is on its disk.
void LivingCluster::start_coordinator() {
    up_ = true;
    transport_ = network_.transport("coordinator");
    const auto workers = static_cast<std::size_t>(
        std::count_if(machines_.begin(), machines_.end(),
                      [](const Machine& m) { return !m.absent && !m.refused && !m.gone; }));
    deployment_.emplace(deployment_options(scenario_, workers, stored_epoch_), footprint(scenario_),
                        model_config(scenario_));
    scheduler_.emplace(scenario_.base.scheduler, bundled_tokenizer(),
                       oracle_drafts(scenario_.base, drafts_));
    listeners_.push_back(std::move(*transport_->listen(
        "coordinator:1", {}, [this](auto connection) { accept_control(connection); })));
    listeners_.push_back(std::move(*transport_->listen(
        "coordinator:2", {}, [this](auto connection) { accept_results(connection); })));
}

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
    deployment_->on_node_left(node, "gone", actions);
    act(actions);
}

void LivingCluster::on_control(std::uint64_t id, const Message& m) {
    Peer& peer = *peers_.at(id);
    peer.heart.heard();
    DeploymentActions actions;
    switch (m.kind) {
        case kRegister:
            return on_register(id, m);
        case kPrepared:
            deployment_->on_prepared(
                Epoch(m.epoch), peer.node, m.no_memory != 0 ? "no memory" : "",
                {{StageIndex(m.stage), scenario_.base.limits.kv_pages, m.kept != 0}}, actions);
            break;
        case kConnected:
            deployment_->on_connected(Epoch(m.epoch), peer.node, "", actions);
            break;
        case kFailed:
            deployment_->on_failure(Epoch(m.epoch), {ErrorCode::kPeerLost, "a stage failed"},
                                    actions);
            break;
        default:
            break;
    }
    act(actions);
}

void LivingCluster::on_register(std::uint64_t id, const Message& m) {
    const auto version = versions_.negotiate(m.versions_min, m.versions_max);
    Peer& peer = *peers_.at(id);
    if (!version) {
        count(Seen::kRefused);
        const Message refusal{.kind = kRefused};
        [[maybe_unused]] const auto sent =
            peer.link->send(std::as_bytes(std::span(&refusal, 1)), {}, {});
        return lose(id);
    }
    const NodeId node(m.node);
    const auto same = [&](const auto& p) { return p.second->node == node; };
    // The one before is dead and we do not know it yet: come again.
    if (std::any_of(peers_.begin(), peers_.end(), same)) return lose(id);
    peer.node = node;
    NodeOffer offer{.node = node, .name = fmt::format("node{}", m.node - 1), .last_epoch = m.epoch};
    offer.devices.push_back({"sim", "sim-1", free_bytes(scenario_)});
    DeploymentActions actions;
    deployment_->on_node_joined(std::move(offer), actions);
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
            prepare_nodes(prepare->plan);
        } else if (const auto* connect = std::get_if<ConnectNodes>(&action)) {
            connect_nodes(connect->plan);
        } else if (const auto* start = std::get_if<StartPipeline>(&action)) {
            start_pipeline(start->plan);
        } else {
            if (to_first_) to_first_->close();
            if (from_last_) from_last_->close();
            to_first_.reset();
            from_last_.reset();
            greeting_.clear();
            if (scheduler_->running()) count(Seen::kLosses);
            scheduler_->set_time(now());
            scheduler_->suspend();
        }
    }
}

void LivingCluster::prepare_nodes(const Plan& plan) {
    stored_epoch_ = plan.epoch.value;  // before anybody hears of it
    check_alive(plan);
    const auto& stages = plan.stages;
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const bool last = i + 1 == stages.size();
        send_to(stages[i].node,
                {.kind = kPrepare,
                 .epoch = plan.epoch.value,
                 .stage = static_cast<std::uint32_t>(i),
                 .stages = static_cast<std::uint32_t>(stages.size()),
                 .begin = stages[i].part.begin,
                 .end = stages[i].part.end,
                 .next = last ? kToCoordinator : stages[i + 1].node.value,
                 .kept_epoch = plan.kept_epoch.value,
                 .kept_from = plan.kept_from},
                scheduler_->kept());
    }
}

void LivingCluster::connect_nodes(const Plan& plan) {
    for (const auto& stage : plan.stages)
        send_to(stage.node, {.kind = kConnect, .epoch = plan.epoch.value});
    const std::string first = fmt::format("node{}:1", plan.stages.front().node.value - 1);
    transport_->dial(first, {}, 50ms, [this, epoch = plan.epoch](auto made) {
        if (!deployment_->plan() || deployment_->plan()->epoch != epoch) return;
        if (!made) return broken(epoch);
        to_first_ = std::move(*made);
        const auto& speaks = machines_[deployment_->plan()->stages.front().node.value - 1].speaks;
        const auto wire = versions_.negotiate(speaks.min, speaks.max);
        if (!wire) return broken(epoch);
        to_first_wire_ = *wire;
        auto receiver = std::make_shared<Receiver>();
        receiver->closed = [this, epoch] { broken(epoch); };
        to_first_->start(receiver);
        const Message greeting{.kind = kGreeting,
                               .epoch = epoch.value,
                               .stage = 0,
                               .versions_min = versions_.min(),
                               .versions_max = versions_.max()};
        if (!to_first_->send(std::as_bytes(std::span(&greeting, 1)), {}, {})) return broken(epoch);
        if (!from_last_) return;
        DeploymentActions more;
        deployment_->on_links_open(epoch, more);
        act(more);
    });
}

void LivingCluster::accept_results(std::shared_ptr<transport::Connection> connection) {
    auto receiver = std::make_shared<Receiver>();
    const auto epoch = std::make_shared<Epoch>();
    const auto wire = std::make_shared<const proto::WireLayout*>();
    greeting_.push_back(connection);
    receiver->frame = [this, epoch, wire, weak = std::weak_ptr(connection)](
                          std::span<const std::byte> head, bool) -> Status {
        if (epoch->value != 0) {
            on_result(*epoch, head, **wire);
            return {};
        }
        const auto greeting = read_message<Message>(head);
        POTLUCK_ASSIGN(*wire, versions_.negotiate(greeting.versions_min, greeting.versions_max));
        *epoch = Epoch(greeting.epoch);
        if (!deployment_->plan() || deployment_->plan()->epoch != *epoch || from_last_)
            return error(ErrorCode::kCancelled, "no results of this epoch are expected");
        from_last_ = weak.lock();
        if (!to_first_) return {};
        DeploymentActions actions;
        deployment_->on_links_open(*epoch, actions);
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
    count(Seen::kPipelines);
    PipelineLimits limits = scenario_.base.limits;
    limits.stages = plan.stages.size();
    limits.costs.clear();
    limits.kept = kept_pages(plan);
    SchedulerActions actions;
    scheduler_->set_time(now());
    scheduler_->start(limits, actions);
    act(actions);
    deployment_->on_warm(plan.epoch);
    if (begun_) return;
    begun_ = network_.now();
    begin_requests();
    begin_faults();
}

void LivingCluster::broken(Epoch epoch) {
    DeploymentActions actions;
    deployment_->on_failure(epoch, {ErrorCode::kPeerLost, "a link is lost"}, actions);
    act(actions);
}

void LivingCluster::on_result(Epoch epoch, std::span<const std::byte> head,
                              const proto::WireLayout& wire) {
    if (!deployment_->plan() || !scheduler_->running()) return;
    const Plan& plan = *deployment_->plan();
    if (epoch != plan.epoch) return;
    proto::FrameHeader header;
    const auto decoded = proto::decode_result(head, header, result_, wire);
    if (!decoded || header.epoch != epoch || header.stage.value != plan.stages.size()) {
        if (!tampered()) problem("a result that is none");
        count(Seen::kRejected);
        return broken(epoch);
    }
    count_version(wire);
    SchedulerActions actions;
    scheduler_->set_time(now());
    const auto taken = scheduler_->on_result(result_, actions);
    act(actions);
    if (taken) return;
    if (!tampered()) problem(taken.error().message);
    count(Seen::kRejected);
    broken(epoch);
}

void LivingCluster::act(SchedulerActions& actions) {
    for (auto& action : actions) {
        if (const auto* send = std::get_if<SendBatch>(&action)) {
            if (!to_first_) continue;
            check_alive(*deployment_->plan());
            const Epoch epoch = deployment_->plan()->epoch;
            ++outcome_.batches;
            proto::encode_rows({epoch, PipelineId(0), StageIndex(0), to_first_wire_}, send->batch,
                               0, head_);
            if (!to_first_->send(head_, {}, {})) broken(epoch);
        } else if (const auto* cancel = std::get_if<SendCancel>(&action)) {
            if (!deployment_->plan()) continue;
            for (const auto& stage : deployment_->plan()->stages) {
                send_to(stage.node, {.kind = kCancel,
                                     .epoch = deployment_->plan()->epoch.value,
                                     .generation = cancel->generation,
                                     .seq = cancel->seq.value});
            }
        } else {
            tell_client(outcome_, action);
        }
    }
    check_bounds();
}

void LivingCluster::beat_of_coordinator() {
    const Message ping{.kind = kPing};
    std::vector<std::uint64_t> silent;
    for (auto& [id, peer] : peers_) {
        if (!peer->heart.beat() && neglect_ != Neglect::kHeartbeat) silent.push_back(id);
        [[maybe_unused]] const auto sent =
            peer->link->send(std::as_bytes(std::span(&ping, 1)), {}, {});
    }
    for (const auto id : silent)
        lose(id);
    DeploymentActions actions;
    deployment_->on_time(now(), scheduler_->active_sequences() == 0 && scheduler_->waiting() == 0,
                         actions);
    act(actions);
    SchedulerActions ends;
    scheduler_->set_time(now());
    scheduler_->give_up_if_late(deployment_->status(), ends);
    act(ends);
}

}  // namespace potluck::sim
