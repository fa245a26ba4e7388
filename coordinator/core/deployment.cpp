#include "coordinator/core/deployment.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
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

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// The order of names for people: "local-2" before "local-10".
bool name_before(std::string_view a, std::string_view b) {
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < a.size() && j < b.size()) {
        if (!is_digit(a[i]) || !is_digit(b[j])) {
            if (a[i] != b[j]) return a[i] < b[j];
            ++i, ++j;
            continue;
        }
        const auto number = [](std::string_view text, std::size_t& at) {
            const std::size_t from = text.find_first_not_of('0', at);
            std::size_t end = at;
            while (end < text.size() && is_digit(text[end]))
                ++end;
            const std::size_t begin = std::min(from, end);
            at = end;
            return text.substr(begin, end - begin);
        };
        const auto x = number(a, i);
        const auto y = number(b, j);
        if (x.size() != y.size()) return x.size() < y.size();
        if (x != y) return x < y;
    }
    if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j;
    return a < b;
}

bool same_stages(const Plan& a, const Plan& b) {
    return std::equal(a.stages.begin(), a.stages.end(), b.stages.begin(), b.stages.end(),
                      [](const StagePlacement& x, const StagePlacement& y) {
                          return x.node == y.node && x.device == y.device &&
                                 x.part.begin == y.part.begin && x.part.end == y.part.end;
                      });
}

}  // namespace

nanoseconds retry_after(unsigned failures, nanoseconds first, nanoseconds longest) {
    return std::min(first * (std::int64_t{1} << std::min(failures - 1, 20U)), longest);
}

std::vector<DeviceOffer> device_offers(NodeId id, const NodeOffer& node) {
    std::vector<DeviceOffer> devices;
    for (std::uint32_t i = 0; i < node.devices.size(); ++i) {
        const auto& d = node.devices[i];
        devices.push_back({.node = id,
                           .device = i,
                           .name = fmt::format("{}/{} {}", node.name, i, d.name),
                           .address = node.address,
                           .free_bytes = d.free_bytes,
                           .arithmetic_class = d.arithmetic_class});
    }
    return devices;
}

Deployment::Deployment(DeploymentOptions options, model::Footprint footprint,
                       model::ModelConfig config)
    : options_(std::move(options)),
      footprint_(std::move(footprint)),
      config_(std::move(config)),
      last_epoch_(options_.first_epoch) {}

bool Deployment::current(Epoch epoch, DeploymentState expected) const {
    return state_ == expected && plan_ && plan_->epoch == epoch;
}

bool Deployment::was_stable() const {
    return state_ == DeploymentState::kReady && now_ - ready_since_ >= options_.stable;
}

nanoseconds Deployment::retry_after(unsigned failures) const {
    return coordinator::retry_after(failures, options_.first_retry, options_.longest_retry);
}

void Deployment::leave_out(NodeId node) {
    auto& standing = standing_[node];
    standing.out_until = now_ + retry_after(++standing.failures);
}

/// Nodes that may be planned with, in the order of their names, so that the same nodes get the same
/// layers after a restart.
std::vector<NodeId> Deployment::usable() const {
    std::vector<NodeId> all;
    for (const auto& [id, node] : nodes_) {
        if (!node.absence.empty()) continue;
        const auto standing = standing_.find(id);
        if (standing == standing_.end() || standing->second.out_until <= now_) all.push_back(id);
    }
    std::sort(all.begin(), all.end(), [&](NodeId a, NodeId b) {
        return name_before(nodes_.at(a).name, nodes_.at(b).name);
    });
    return all;
}

std::vector<DeviceOffer> Deployment::devices_of(const std::vector<NodeId>& nodes) const {
    std::vector<DeviceOffer> devices;
    for (const NodeId id : nodes)
        for (auto& device : device_offers(id, nodes_.at(id)))
            devices.push_back(std::move(device));
    return devices;
}

/// Without the node that is to be spared, if that can be.
Result<Plan> Deployment::plan_for(const std::vector<NodeId>& nodes,
                                  const StageChooser& choose) const {
    if (!options_.spared.empty()) {
        auto others = nodes;
        std::erase_if(others, [&](NodeId id) { return nodes_.at(id).name == options_.spared; });
        if (!others.empty() && others.size() < nodes.size())
            if (auto plan = plan_among(others, choose)) return plan;
    }
    return plan_among(nodes, choose);
}

Result<Plan> Deployment::plan_among(const std::vector<NodeId>& nodes,
                                    const StageChooser& choose) const {
    std::vector<DeviceOffer> devices = devices_of(nodes);
    PlanRequest request = options_.plan;
    if (was_ready_ && request.split.size() != devices.size()) request.split.clear();
    if (choose && request.split.empty()) arrange(choose(devices), devices, request);
    return make_plan(footprint_, config_, devices, request);
}

void Deployment::prepare(Plan plan, DeploymentActions& actions) {
    plan.epoch = take_epoch();
    plan.kept_epoch = {};
    plan.kept_from = config_.n_layers;
    if (served_) {
        plan.kept_from = kept_from(*served_, plan, held_);
        if (plan.kept_from < config_.n_layers) plan.kept_epoch = served_->epoch;
    }
    served_.reset();
    plan_ = std::move(plan);
    state_ = DeploymentState::kPreparing;
    links_open_ = false;
    pending_.clear();
    progress_.clear();
    for (const auto& stage : plan_->stages)
        pending_[stage.node] = true;
    std::vector<NodeId> left_out;
    for (const NodeId node : told_)
        if (!pending_.contains(node)) left_out.push_back(node);
    for (const auto& [node, awaited] : pending_)
        told_.insert(node);
    actions.push_back(PrepareNodes{*plan_, std::move(left_out)});
}

void Deployment::make_plan_if_possible(DeploymentActions& actions) {
    if (state_ != DeploymentState::kWaiting || now_ < retry_at_) return;
    const auto nodes = usable();
    if (nodes.size() < needed() || nodes == planned_for_) return;
    planned_for_ = nodes;
    auto plan = plan_for(nodes, options_.choose);
    if (!plan) {
        last_problem_ = plan.error().message;
        return;
    }
    last_problem_.clear();
    prepare(std::move(*plan), actions);
}

/// While all is well and nobody is there to be disturbed.
void Deployment::take_in(DeploymentActions& actions) {
    const auto nodes = usable();
    if (nodes == planned_for_) return;
    planned_for_ = nodes;
    auto plan = plan_for(nodes, options_.choose);
    if (!plan || same_stages(*plan, *plan_)) return;
    actions.push_back(StopPipeline{.reason = {ErrorCode::kPeerLost, "workers are being taken in"},
                                   .planned = true});
    prepare(std::move(*plan), actions);
}

void Deployment::on_time(nanoseconds now, bool quiet, DeploymentActions& actions) {
    now_ = now;
    if (state_ == DeploymentState::kWaiting) make_plan_if_possible(actions);
    if (state_ == DeploymentState::kReady && quiet) take_in(actions);
}

void Deployment::on_node_joined(NodeOffer node, DeploymentActions& actions) {
    last_epoch_ = std::max(last_epoch_, node.last_epoch);
    const auto standing = standing_.find(node.node);
    if (standing == standing_.end() || standing->second.out_until <= now_) {
        planned_for_.clear();
        retry_at_ = {};
    }
    nodes_.insert_or_assign(node.node, std::move(node));
    make_plan_if_possible(actions);
}

void Deployment::fall_back(const Error& reason, DeploymentActions& actions, bool planned) {
    last_problem_ = reason.message;
    if (plan_) actions.push_back(StopPipeline{.reason = reason, .planned = planned});
    plan_.reset();
    pending_.clear();
    planned_for_.clear();
    state_ = DeploymentState::kWaiting;
}

bool Deployment::holds_stage(NodeId node) const {
    return plan_ &&
           std::ranges::any_of(plan_->stages, [&](const auto& s) { return s.node == node; });
}

Status Deployment::can_spare(NodeId node) const {
    if (!holds_stage(node)) return {};
    auto others = usable();
    std::erase(others, node);
    auto plan = plan_for(others, options_.consider);
    if (plan) return {};
    const std::string& name = nodes_.at(node).name;
    if (others.empty()) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("there is no other node that could do the work of {}", name));
    }
    return error(ErrorCode::kResourceExhausted,
                 fmt::format("without {} the model does not fit: {}", name, plan.error().message));
}

void Deployment::on_absence(NodeId node, const std::string& why, DeploymentActions& actions) {
    const auto found = nodes_.find(node);
    if (found == nodes_.end() || found->second.absence == why) return;
    const bool changes = found->second.absence.empty() != why.empty();
    found->second.absence = why;
    if (!changes) return;
    // Whoever is out of use is asked for all of its memory.
    if (!why.empty()) {
        held_.erase(node);
        told_.erase(node);
    }
    if (why.empty()) {
        planned_for_.clear();
    } else if (holds_stage(node)) {
        const Error reason{ErrorCode::kPeerLost,
                           fmt::format("worker {} is out of use: {}", found->second.name, why)};
        fall_back(reason, actions, true);
    }
    plan_anew(actions);
}

/// Of nodes one is more or less: also without a plan, for what failed before may work now.
void Deployment::plan_anew(DeploymentActions& actions) {
    if (state_ != DeploymentState::kWaiting) return;
    retry_at_ = {};
    make_plan_if_possible(actions);
}

void Deployment::on_node_left(NodeId node, const std::string& why, DeploymentActions& actions) {
    const auto found = nodes_.find(node);
    if (found == nodes_.end()) return;
    const std::string name = found->second.name;
    const bool held = holds_stage(node);
    nodes_.erase(found);
    held_.erase(node);
    told_.erase(node);
    if (held) {
        if (was_stable()) {
            standing_.erase(node);
        } else {
            leave_out(node);
        }
        fall_back({ErrorCode::kPeerLost, fmt::format("worker {} is lost: {}", name, why)}, actions);
    }
    plan_anew(actions);
}

void Deployment::on_failure(Epoch epoch, const Error& reason, DeploymentActions& actions) {
    if (!plan_ || plan_->epoch != epoch) return;
    if (was_stable()) failures_ = 0;
    retry_at_ = now_ + (failures_ == 0 ? options_.settle : retry_after(failures_));
    ++failures_;
    fall_back(reason, actions);
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
        leave_out(node);
        fall_back({ErrorCode::kUnsupported,
                   fmt::format("worker {} cannot load its part: {}", name, problem)},
                  actions);
        return make_plan_if_possible(actions);
    }
    if (!keeps_as_planned(node, stages)) {
        Plan again = std::move(*plan_);
        return prepare(std::move(again), actions);
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

/// Whether each of the node's stages that was to keep pages says that it has them.
bool Deployment::keeps_as_planned(NodeId node, const std::vector<PreparedStage>& said) const {
    if (plan_->kept_epoch.value == 0) return true;
    for (std::uint32_t i = 0; i < plan_->stages.size(); ++i) {
        const StagePlacement& stage = plan_->stages[i];
        if (stage.node != node || stage.part.end <= plan_->kept_from) continue;
        const bool kept = std::any_of(said.begin(), said.end(), [&](const PreparedStage& prepared) {
            return prepared.stage.value == i && prepared.kept;
        });
        if (!kept) return false;
    }
    return true;
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
    served_ = plan_;
    held_.clear();
    for (const auto& stage : plan_->stages)
        held_.insert(stage.node);
    told_ = held_;
    actions.push_back(StartPipeline{*plan_});
}

void Deployment::on_warm(Epoch epoch) {
    if (!current(epoch, DeploymentState::kWarming)) return;
    state_ = DeploymentState::kReady;
    was_ready_ = true;
    ready_since_ = now_;
    last_problem_.clear();
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

std::size_t Deployment::present() const {
    return static_cast<std::size_t>(std::ranges::count_if(
        nodes_, [](const auto& entry) { return entry.second.absence.empty(); }));
}

std::size_t Deployment::awaited() const {
    if (state_ != DeploymentState::kWaiting) return 0;
    return needed() - std::min(needed(), present());
}

std::string Deployment::status() const {
    const std::string because = last_problem_.empty() ? "" : " (" + last_problem_ + ")";
    switch (state_) {
        case DeploymentState::kWaiting:
            if (present() < needed())
                return fmt::format("waiting for workers: {} of {}{}", present(), needed(), because);
            return "cannot serve" + because;
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
