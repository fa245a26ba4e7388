#include "coordinator/core/draft_placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace potluck::coordinator {
namespace {

/// Why a draft model may not be on this node (any more); empty: it may.
std::string why_not(NodeId node, const std::string& name, const Deployment& deployment) {
    const auto found = deployment.nodes().find(node);
    if (found == deployment.nodes().end()) return fmt::format("worker {} is lost", name);
    if (!found->second.absence.empty())
        return fmt::format("worker {} is out of use: {}", name, found->second.absence);
    if (deployment.holds_stage(node))
        return fmt::format("worker {} has a stage of the model", name);
    return {};
}

std::uint64_t most_memory(const NodeOffer& node) {
    std::uint64_t most = 0;
    for (const auto& device : node.devices)
        most = std::max(most, device.free_bytes);
    return most;
}

}  // namespace

DraftPlacement::DraftPlacement(DraftPlacementOptions options, model::Footprint footprint,
                               model::ModelConfig config)
    : options_(std::move(options)), footprint_(std::move(footprint)), config_(std::move(config)) {}

void DraftPlacement::review(nanoseconds now, Deployment& deployment, DeploymentActions& actions) {
    now_ = now;
    if (plan_) {
        const NodeId node = plan_->stages.front().node;
        const std::string why = why_not(node, node_name_, deployment);
        if (why.empty()) {
            if (state_ == DraftState::kReady && now_ - since_ >= options_.stable)
                standing_.erase(node);
            return;
        }
        const bool lost = !deployment.nodes().contains(node);
        // Perhaps the draft model was too much for it.
        if (lost && now_ - since_ < options_.stable) leave_out(node, why);
        stop({ErrorCode::kPeerLost, why}, !lost, actions);
    }
    if (deployment.state() != DeploymentState::kReady) {
        waits_for_ = "the cluster is not ready";
        return;
    }
    for (const NodeId node : candidates(deployment))
        if (place(node, deployment, actions)) return;
}

/// Who may take it now, the one with the largest device first; else says what is waited for.
std::vector<NodeId> DraftPlacement::candidates(const Deployment& deployment) {
    waits_for_ = options_.node.empty() ? "no worker is idle"
                                       : fmt::format("there is no worker {}", options_.node);
    std::vector<NodeId> idle;
    for (const auto& [id, node] : deployment.nodes()) {
        if (!options_.node.empty() && node.name != options_.node) continue;
        auto why = why_not(id, node.name, deployment);
        const auto standing = standing_.find(id);
        const bool failed =
            why.empty() && standing != standing_.end() && standing->second.out_until > now_;
        if (failed) why = standing->second.why + "; it is tried again later";
        if (why.empty()) {
            idle.push_back(id);
        } else if (failed || !options_.node.empty()) {
            waits_for_ = why;
        }
    }
    std::ranges::stable_sort(idle, std::ranges::greater(),
                             [&](NodeId id) { return most_memory(deployment.nodes().at(id)); });
    return idle;
}

/// On the first of its devices that has room, the largest first.
bool DraftPlacement::place(NodeId node, Deployment& deployment, DeploymentActions& actions) {
    const NodeOffer& offer = deployment.nodes().at(node);
    std::vector<DeviceOffer> devices = device_offers(node, offer);
    std::ranges::stable_sort(devices, std::ranges::greater(), &DeviceOffer::free_bytes);
    for (const auto& device : devices) {
        auto plan = make_plan(footprint_, config_, {device}, options_.plan);
        if (!plan) {
            waits_for_ = plan.error().message;
            continue;
        }
        plan->epoch = deployment.take_epoch();
        plan_ = std::move(*plan);
        node_name_ = offer.name;
        since_ = now_;
        state_ = DraftState::kPreparing;
        connected_ = links_open_ = false;
        actions.push_back(PrepareNodes{*plan_});
        return true;
    }
    return false;
}

void DraftPlacement::leave_out(NodeId node, const std::string& why) {
    auto& standing = standing_[node];
    standing.why = why;
    standing.out_until =
        now_ + retry_after(++standing.failures, options_.first_retry, options_.longest_retry);
}

void DraftPlacement::stop(const Error& reason, bool planned, DeploymentActions& actions) {
    waits_for_ = reason.message;
    plan_.reset();
    state_ = DraftState::kNone;
    actions.push_back(StopPipeline{.reason = reason, .planned = planned});
}

void DraftPlacement::on_prepared(Epoch epoch, const std::string& problem, std::uint64_t kv_pages,
                                 DeploymentActions& actions) {
    if (!owns(epoch) || state_ != DraftState::kPreparing) return;
    if (!problem.empty() || kv_pages == 0) {
        return on_failure(epoch,
                          {ErrorCode::kUnsupported,
                           fmt::format("worker {} cannot load it: {}", node_name_, problem)},
                          actions);
    }
    plan_->kv_pages = std::min(plan_->kv_pages, kv_pages);
    state_ = DraftState::kConnecting;
    actions.push_back(ConnectNodes{*plan_});
}

void DraftPlacement::on_connected(Epoch epoch, const std::string& problem,
                                  DeploymentActions& actions) {
    if (!owns(epoch) || state_ != DraftState::kConnecting) return;
    if (!problem.empty()) return on_failure(epoch, {ErrorCode::kPeerLost, problem}, actions);
    connected_ = true;
    maybe_start(actions);
}

void DraftPlacement::on_links_open(Epoch epoch, DeploymentActions& actions) {
    if (!owns(epoch) || state_ != DraftState::kConnecting) return;
    links_open_ = true;
    maybe_start(actions);
}

void DraftPlacement::maybe_start(DeploymentActions& actions) {
    if (!connected_ || !links_open_) return;
    state_ = DraftState::kReady;
    actions.push_back(StartPipeline{*plan_});
}

void DraftPlacement::on_failure(Epoch epoch, const Error& reason, DeploymentActions& actions) {
    if (!owns(epoch)) return;
    leave_out(plan_->stages.front().node, reason.message);
    stop(reason, false, actions);
}

std::string DraftPlacement::absence() const {
    switch (state_) {
        case DraftState::kNone:
            return waits_for_;
        case DraftState::kPreparing:
            return fmt::format("it is being loaded by worker {}", node_name_);
        case DraftState::kConnecting:
            return fmt::format("worker {} is being connected", node_name_);
        case DraftState::kReady:
            return {};
    }
    return {};
}

}  // namespace potluck::coordinator
