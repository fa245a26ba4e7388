#include "coordinator/core/deployment.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace potluck::coordinator {
namespace {

/// What was chosen, as a list of devices and a split of them.
void arrange(const std::vector<LayerShare>& chosen, std::vector<DeviceOffer>& devices,
             PlanRequest& request) {
    if (chosen.empty()) return;
    std::vector<DeviceOffer> in_order;
    for (const auto& share : chosen) {
        in_order.push_back(devices[share.device]);
        request.split.push_back(share.layers);
    }
    devices = std::move(in_order);
}

}  // namespace

Deployment::Deployment(DeploymentOptions options, model::Footprint footprint,
                       model::ModelConfig config)
    : options_(std::move(options)),
      footprint_(std::move(footprint)),
      config_(std::move(config)),
      next_epoch_(options_.first_epoch) {}

bool Deployment::current(Epoch epoch, DeploymentState expected) const {
    return state_ == expected && plan_ && plan_->epoch == epoch;
}

void Deployment::on_node_joined(NodeOffer node, DeploymentActions& actions) {
    failed_ = false;
    nodes_.insert_or_assign(node.node, std::move(node));
    if (state_ == DeploymentState::kWaiting) make_plan_if_enough(actions);
}

void Deployment::make_plan_if_enough(DeploymentActions& actions) {
    if (nodes_.size() < options_.workers || failed_) return;
    std::vector<DeviceOffer> devices;
    for (const auto& [id, node] : nodes_) {
        for (std::uint32_t i = 0; i < node.devices.size(); ++i) {
            const auto& d = node.devices[i];
            devices.push_back({.node = id,
                               .device = i,
                               .name = fmt::format("{}/{} {}", node.name, i, d.name),
                               .address = node.address,
                               .free_bytes = d.free_bytes,
                               .arithmetic_class = d.arithmetic_class});
        }
    }
    PlanRequest request = options_.plan;
    if (options_.choose && request.split.empty())
        arrange(options_.choose(devices), devices, request);
    auto plan = make_plan(footprint_, config_, devices, request);
    if (!plan) {
        failed_ = true;
        last_problem_ = plan.error().message;
        return;
    }
    plan->epoch = Epoch(next_epoch_++);
    plan_ = std::move(*plan);
    state_ = DeploymentState::kPreparing;
    links_open_ = false;
    last_problem_.clear();
    pending_.clear();
    progress_.clear();
    for (const auto& stage : plan_->stages)
        pending_[stage.node] = true;
    actions.push_back(PrepareNodes{*plan_});
}

void Deployment::fall_back(const Error& reason, DeploymentActions& actions) {
    last_problem_ = reason.message;
    if (plan_) actions.push_back(StopPipeline{reason});
    plan_.reset();
    pending_.clear();
    state_ = DeploymentState::kWaiting;
}

void Deployment::on_node_left(NodeId node, const std::string& why, DeploymentActions& actions) {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return;
    const std::string name = found->second.name;
    nodes_.erase(found);
    failed_ = false;
    const auto holds_stage = [&](const StagePlacement& s) { return s.node == node; };
    if (plan_ && std::any_of(plan_->stages.begin(), plan_->stages.end(), holds_stage)) {
        fall_back({ErrorCode::kPeerLost, fmt::format("worker {} is lost: {}", name, why)}, actions);
    }
    // Also without a plan: what failed with this worker may work without it.
    if (state_ == DeploymentState::kWaiting) make_plan_if_enough(actions);
}

void Deployment::on_failure(Epoch epoch, const Error& reason, DeploymentActions& actions) {
    if (!plan_ || plan_->epoch != epoch) return;
    failed_ = state_ != DeploymentState::kReady;  // what never worked is not tried again by itself
    fall_back(reason, actions);
    make_plan_if_enough(actions);
}

void Deployment::on_progress(Epoch epoch, StageIndex stage, std::uint64_t done,
                             std::uint64_t total) {
    if (current(epoch, DeploymentState::kPreparing)) progress_[stage] = {done, total};
}

void Deployment::on_prepared(Epoch epoch, NodeId node, const std::string& problem,
                             const std::vector<PreparedStage>& stages, DeploymentActions& actions) {
    if (!current(epoch, DeploymentState::kPreparing) || !pending_.contains(node)) return;
    if (!problem.empty()) {
        const auto known = nodes_.find(node);
        const std::string name = known == nodes_.end() ? "?" : known->second.name;
        on_failure(epoch,
                   {ErrorCode::kUnsupported,
                    fmt::format("worker {} cannot load its part: {}", name, problem)},
                   actions);
        return;
    }
    for (const auto& stage : stages)
        plan_->kv_pages = std::min(plan_->kv_pages, stage.kv_pages);
    pending_.erase(node);
    if (!pending_.empty()) return;
    for (const auto& stage : plan_->stages)
        pending_[stage.node] = true;
    state_ = DeploymentState::kConnecting;
    actions.push_back(ConnectNodes{*plan_});
}

void Deployment::on_connected(Epoch epoch, NodeId node, const std::string& problem,
                              DeploymentActions& actions) {
    if (!current(epoch, DeploymentState::kConnecting)) return;
    if (!problem.empty()) {
        on_failure(epoch, {ErrorCode::kPeerLost, problem}, actions);
        return;
    }
    pending_.erase(node);
    maybe_start(actions);
}

void Deployment::on_links_open(Epoch epoch, DeploymentActions& actions) {
    if (!current(epoch, DeploymentState::kConnecting)) return;
    links_open_ = true;
    maybe_start(actions);
}

void Deployment::maybe_start(DeploymentActions& actions) {
    if (!pending_.empty() || !links_open_) return;
    state_ = DeploymentState::kWarming;
    actions.push_back(StartPipeline{*plan_});
}

void Deployment::on_warm(Epoch epoch) {
    if (current(epoch, DeploymentState::kWarming)) state_ = DeploymentState::kReady;
}

std::string Deployment::status() const {
    const std::string because = last_problem_.empty() ? "" : " (" + last_problem_ + ")";
    switch (state_) {
        case DeploymentState::kWaiting:
            if (failed_) return "cannot serve" + because;
            return fmt::format("waiting for workers: {} of {}{}", nodes_.size(), options_.workers,
                               because);
        case DeploymentState::kPreparing: {
            std::uint64_t done = 0;
            std::uint64_t total = 0;
            for (const auto& [stage, p] : progress_) {
                done += p.first;
                total += p.second;
            }
            return fmt::format("loading {} %", total == 0 ? 0 : done * 100 / total);
        }
        case DeploymentState::kConnecting:
            return "connecting the stages";
        case DeploymentState::kWarming:
            return "sending the first token";
        case DeploymentState::kReady:
            return "ready";
    }
    return "unknown";
}

}  // namespace potluck::coordinator
