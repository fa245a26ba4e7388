#include "coordinator/core/deployment.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace potluck::coordinator {

Deployment::Deployment(DeploymentOptions options, model::Footprint footprint,
                       model::ModelConfig config)
    : options_(std::move(options)), footprint_(std::move(footprint)), config_(std::move(config)) {}

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
    auto plan = make_plan(footprint_, config_, devices, options_.plan);
    if (!plan) {
        failed_ = true;
        last_problem_ = plan.error().message;
        return;
    }
    plan->epoch = Epoch(++last_epoch_);
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

void Deployment::on_progress(Epoch epoch, StageIndex stage, const StageProgress& progress) {
    if (current(epoch, DeploymentState::kPreparing)) progress_[stage] = progress;
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

namespace {

/// The slowest that is going on: hashing, else fetching, else loading. Stages fetch side by side,
/// so that the last one says how long it takes.
std::string loading_status(const std::map<StageIndex, StageProgress>& stages) {
    using Phase = StageProgress::Phase;
    const auto in = [](Phase phase) {
        return [phase](const auto& entry) {
            return entry.second.phase == phase && entry.second.done < entry.second.total;
        };
    };
    const auto phase = std::ranges::any_of(stages, in(Phase::kHashing))    ? Phase::kHashing
                       : std::ranges::any_of(stages, in(Phase::kFetching)) ? Phase::kFetching
                                                                           : Phase::kLoading;
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    std::uint64_t rate = 0;
    std::uint64_t seconds = 0;
    for (const auto& [stage, p] : stages) {
        if (p.phase != phase) continue;
        // All stages wait for the same hashing.
        done = phase == Phase::kHashing ? std::max(done, p.done) : done + p.done;
        total = phase == Phase::kHashing ? std::max(total, p.total) : total + p.total;
        rate = phase == Phase::kHashing ? std::max(rate, p.bytes_per_second)
                                        : rate + p.bytes_per_second;
        if (p.bytes_per_second > 0)
            seconds = std::max(seconds, (p.total - std::min(p.done, p.total)) / p.bytes_per_second);
    }
    const auto percent = total == 0 ? 0 : done * 100 / total;
    if (phase == Phase::kLoading) return fmt::format("loading {} %", percent);
    constexpr double kMib = 1 << 20;
    std::string text =
        fmt::format("{} {} % of {:.1f} MiB",
                    phase == Phase::kHashing ? "hashing the model:" : "fetching weights:", percent,
                    static_cast<double>(total) / kMib);
    if (rate > 0) text += fmt::format(", {:.1f} MiB/s", static_cast<double>(rate) / kMib);
    constexpr std::uint64_t kLongest = 100 * 3600;  // beyond that a rate is no promise
    if (seconds >= 3600 && seconds < kLongest) {
        text +=
            fmt::format(", {}:{:02}:{:02} left", seconds / 3600, seconds / 60 % 60, seconds % 60);
    } else if (rate > 0 && seconds < 3600) {
        text += fmt::format(", {}:{:02} left", seconds / 60, seconds % 60);
    }
    return text;
}

}  // namespace

std::string Deployment::status() const {
    const std::string because = last_problem_.empty() ? "" : " (" + last_problem_ + ")";
    switch (state_) {
        case DeploymentState::kWaiting:
            if (failed_) return "cannot serve" + because;
            return fmt::format("waiting for workers: {} of {}{}", nodes_.size(), options_.workers,
                               because);
        case DeploymentState::kPreparing:
            return loading_status(progress_);
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
