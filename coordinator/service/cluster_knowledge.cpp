#include "coordinator/service/cluster_knowledge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/printable.h"

namespace potluck::coordinator {
namespace {

using Clock = std::chrono::steady_clock;

store::UnixTime unix_now() {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string stages_text(const Plan& plan) {
    std::vector<std::string> stages;
    for (const auto& stage : plan.stages)
        stages.push_back(
            fmt::format("{} {}..{}", stage.device_name, stage.part.begin, stage.part.end - 1));
    return fmt::format("{}", fmt::join(stages, ", "));
}

store::PlanRecord record_of(const Plan& plan, const std::string& model) {
    return {.epoch = plan.epoch, .model = model, .stages = stages_text(plan), .made = unix_now()};
}

std::vector<LayerShare> shares_of(const Choice& choice, const std::vector<DeviceOffer>& devices) {
    std::vector<LayerShare> shares;
    for (const auto& stage : choice.stages) {
        for (std::size_t i = 0; i < devices.size(); ++i) {
            if (devices[i].node == stage.node && devices[i].device == stage.device)
                shares.push_back({i, stage.layers});
        }
    }
    return shares;
}

}  // namespace

ClusterKnowledge::ClusterKnowledge(boost::asio::io_context& loop, transport::Transport& transport,
                                   KnowledgeOptions options, Result<planner::ModelParts> parts,
                                   std::uint32_t context_length)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      wish_{.objective = options_.objective, .use_all = options_.use_all},
      context_length_(context_length),
      survey_(loop, transport, [this](LinkSurvey::Ends ends, const links::LinkFigures& figures) {
          on_link(ends, figures);
          remember_link(ends, figures);
      }) {
    if (!options_.store) options_.store = store::make_memory_store();
}

ClusterKnowledge::~ClusterKnowledge() {
    keep_measured(true);
}

Status ClusterKnowledge::prepare(DeploymentOptions& options) {
    POTLUCK_ASSIGN(const Epoch last, options_.store->last_epoch());
    options.first_epoch = last.value;
    wish_.work = workload_of(options.plan, context_length_);
    options.choose = [this](const std::vector<DeviceOffer>& devices) {
        return choose_stages(devices);
    };
    options.consider = [this](const std::vector<DeviceOffer>& devices) {
        const auto choice = ask_planner(devices);
        return choice ? shares_of(*choice, devices) : std::vector<LayerShare>();
    };
    return {};
}

void ClusterKnowledge::later(std::function<Status(store::Store&)> write) {
    auto job = [to = options_.store.get(), write = std::move(write)] {
        if (auto written = write(*to); !written)
            log::warning("not remembered: {}", written.error().message);
    };
    if (!pool_.post(std::move(job))) log::warning("not remembered: the disk is too slow");
}

// ---------------------------------------------------------------------------------------- nodes

std::string ClusterKnowledge::name_of(NodeId node) const {
    const auto found = surveyed_.nodes.find(node);
    return found == surveyed_.nodes.end() ? std::string() : found->second.name;
}

Result<NodeOffer> ClusterKnowledge::on_registered(
    NodeId node, const std::string& name, const std::string& address,
    const proto::Register& message, std::function<Status(const proto::Control&)> tell) {
    POTLUCK_ASSIGN(Registration registration, read_registration(message));
    NodeOffer offer{
        .node = node, .name = name, .address = address, .last_epoch = message.last_epoch()};
    for (const auto& device : registration.devices) {
        offer.devices.push_back({device.name, device.arithmetic_class, device.free_bytes});
        log::info("worker {} brings {} with {} MiB free{}", name, device.name,
                  device.free_bytes >> 20, device.measured ? "" : ", not measured");
    }
    survey_.add(node, {.name = name,
                       .address = address,
                       .can_measure = registration.probes_links,
                       .tell = std::move(tell)});
    surveyed_.nodes[node] = {name, std::move(registration)};
    recall_links(node);
    later([record = store::NodeRecord{name, address, message.SerializeAsString(), unix_now()}](
              store::Store& to) { return to.remember_node(record); });
    return offer;
}

void ClusterKnowledge::take_in(NodeOffer offer, bool after_survey,
                               std::function<void(NodeOffer)> join) {
    const std::uint64_t arrival = ++arrivals_[offer.node];
    if (!after_survey) return join(std::move(offer));
    ++arriving_;
    survey_.run([this, arrival, offer = std::move(offer), join = std::move(join)] {
        --arriving_;
        // It may have gone meanwhile, and even have come again.
        if (surveyed_.nodes.contains(offer.node) && arrivals_[offer.node] == arrival) join(offer);
    });
}

Status ClusterKnowledge::remember_drained(const std::string& node, bool drained) {
    POTLUCK_TRY(options_.store->remember_drained(node, drained));
    POTLUCK_ASSIGN(const auto all, options_.store->drained());
    if ((std::ranges::find(all, node) != all.end()) == drained) return {};
    return error(ErrorCode::kPeerLost, node + " is only just being remembered: ask again");
}

Status ClusterKnowledge::check_known(const std::string& node) const {
    std::vector<std::string> names;
    POTLUCK_ASSIGN(const auto remembered, options_.store->nodes());
    for (const auto& record : remembered)
        names.push_back(record.name);
    // The one that has just come may not be written yet.
    for (const auto& [id, surveyed] : surveyed_.nodes)
        if (std::ranges::find(names, surveyed.name) == names.end()) names.push_back(surveyed.name);
    if (std::ranges::find(names, node) != names.end()) return {};
    constexpr std::size_t kNamed = 16;
    const std::size_t more = names.size() - std::min(names.size(), kNamed);
    names.resize(names.size() - more);
    return error(
        ErrorCode::kNotFound,
        fmt::format("there is no node '{}'; there {} {}{}", printable(node, kMaxAbsenceBytes),
                    names.size() == 1 ? "is" : "are", fmt::join(names, ", "),
                    more == 0 ? "" : fmt::format(" and {} more", more)));
}

void ClusterKnowledge::on_left(NodeId node) {
    surveyed_.nodes.erase(node);
    std::erase_if(surveyed_.links, [&](const auto& entry) {
        return entry.first.first == node || entry.first.second == node;
    });
    std::erase_if(surveyed_.slowness, [&](const auto& entry) { return entry.first.first == node; });
    lessons_.forget(node);
    survey_.remove(node);
}

void ClusterKnowledge::on_link(LinkSurvey::Ends ends, const links::LinkFigures& figures) {
    surveyed_.links[ends] = {
        .rtt_ms = std::chrono::duration<double, std::milli>(figures.rtt).count(),
        .gbits = static_cast<double>(figures.bytes_per_s) * 8 / 1e9};
}

void ClusterKnowledge::remember_link(LinkSurvey::Ends ends, const links::LinkFigures& figures) {
    later([record = store::LinkRecord{name_of(ends.first), name_of(ends.second),
                                      static_cast<std::uint64_t>(figures.rtt.count()),
                                      figures.bytes_per_s, unix_now()}](store::Store& to) {
        return to.remember_link(record);
    });
}

/// Links to a node that was here before, so that a restart need not wait for them.
void ClusterKnowledge::recall_links(NodeId node) {
    const auto known = options_.store->links();
    if (!known) return log::warning("links are not remembered: {}", known.error().message);
    const std::string name = name_of(node);
    const auto oldest = unix_now() - std::chrono::seconds(kLinkAge).count();
    for (const auto& link : *known) {
        if ((link.a != name && link.b != name) || link.measured < oldest || link.rtt_ns == 0 ||
            link.bytes_per_s == 0)
            continue;
        const std::string& other_name = link.a == name ? link.b : link.a;
        const auto recall = [&](NodeId other) {
            const auto ends = link_between(node, other);
            on_link(ends, {std::chrono::nanoseconds(link.rtt_ns), link.bytes_per_s});
            survey_.skip(ends);
        };
        if (other_name.empty()) recall(kCoordinatorNode);
        for (const auto& [other, surveyed] : surveyed_.nodes)
            if (other != node && surveyed.name == other_name) recall(other);
    }
}

// ---------------------------------------------------------------------------------------- plans

Result<Choice> ClusterKnowledge::ask_planner(const std::vector<DeviceOffer>& devices) const {
    if (!parts_) return tl::make_unexpected(parts_.error());
    return choose(*parts_, surveyed_, devices, wish_);
}

std::vector<LayerShare> ClusterKnowledge::choose_stages(const std::vector<DeviceOffer>& devices) {
    left_out_.clear();
    lessons_.learn(measured_, surveyed_);
    const auto start = Clock::now();
    auto choice = ask_planner(devices);
    no_plan_reason_ = choice ? std::string() : choice.error().message;
    log::info("planning took {} us",
              std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count());
    if (!choice) return {};
    left_out_ = choice->left_out;
    return shares_of(*choice, devices);
}

Status ClusterKnowledge::on_plan(const Plan& plan) {
    epoch_ = plan.epoch;
    lessons_.learn(measured_, surveyed_);
    measured_.reset(plan.stages.size());
    in_flight_ = 0;
    lone_since_.reset();
    predicted_.reset();
    predicted_at_start_.reset();
    corrected_decode_tps_ = 0;
    begins_ = true;
    if (parts_) {
        if (const auto speed = predict(*parts_, surveyed_, plan, wish_)) predicted_ = *speed;
        PlanWish at_start = wish_;
        at_start.work.depth = 1;
        if (const auto speed = predict(*parts_, surveyed_, plan, at_start))
            predicted_at_start_ = *speed;
    }
    lessons_.begin(surveyed_, plan, predicted_);
    store::PlanRecord record = record_of(plan, options_.model);
    if (predicted_) record.predicted = {predicted_->decode_tps, predicted_->prefill_tps};
    return options_.store->remember_plan(record);
}

Status ClusterKnowledge::remember(const Plan& plan, const std::string& model) {
    return options_.store->remember_plan(record_of(plan, model));
}

std::vector<StageCost> ClusterKnowledge::first_costs(const Plan& plan) const {
    const std::uint64_t row_bytes = parts_ ? parts_->sizes.width * sizeof(float) : 0;
    return coordinator::first_costs(surveyed_, plan, row_bytes);
}

std::string ClusterKnowledge::forecast() const {
    std::string text;
    if (predicted_) {
        text = fmt::format("  predicted {:.1f} tok/s for one user, prompts {:.0f} tok/s\n",
                           predicted_->decode_tps, predicted_->prefill_tps);
    }
    if (!no_plan_reason_.empty()) text += fmt::format("  split by memory: {}\n", no_plan_reason_);
    for (const auto& line : left_out_)
        text += fmt::format("  left out {}\n", line);
    return text;
}

std::string ClusterKnowledge::reached() const {
    const auto [decode, prefill] = speed();
    if (decode == 0) return {};
    std::string text = fmt::format("measured {:.1f} tok/s for one user", decode);
    if (predicted_) text += fmt::format(" (predicted {:.1f}", predicted_->decode_tps);
    if (predicted_ && corrected_decode_tps_ > 0)
        text += fmt::format(", by the first steps {:.1f}", corrected_decode_tps_);
    if (predicted_) text += ")";
    if (prefill > 0) text += fmt::format(", prompts {:.0f} tok/s", prefill);
    if (prefill > 0 && predicted_)
        text += fmt::format(" (predicted {:.0f})", predicted_->prefill_tps);
    return text;
}

// ------------------------------------------------------------------------------------- measured

void ClusterKnowledge::observe(StageIndex stage, const StepSample& sample) {
    measured_.observe(stage, sample);
    keep_measured(false);
}

void ClusterKnowledge::on_sent(const Batch& batch) {
    lone_since_.reset();
    // Before the first batch all that is measured are the first steps.
    if (std::exchange(begins_, false) && predicted_ && predicted_at_start_)
        corrected_decode_tps_ = corrected_decode_tps(*predicted_, *predicted_at_start_, measured_);
    if (++in_flight_ == 1 && batch.rows.size() == 1) lone_since_ = Clock::now();
}

void ClusterKnowledge::on_result(const StepResult& result) {
    if (in_flight_ > 0) --in_flight_;
    if (lone_since_ && result.rows.size() == 1) measured_.observe_trip(Clock::now() - *lone_since_);
    lone_since_.reset();
}

store::Speed ClusterKnowledge::speed() const {
    const double chunks =
        std::max(1.0, static_cast<double>(wish_.work.prompt) / std::max(wish_.work.chunk, 1U));
    return {measured_.decode_tps(), measured_.prefill_tps(chunks)};
}

void ClusterKnowledge::keep_measured(bool at_once) {
    const auto now = Clock::now();
    if (epoch_.value == 0 || (!at_once && now - measured_kept_ < kMeasuredInterval)) return;
    const store::Speed reached = speed();
    if (reached == store::Speed{}) return;
    measured_kept_ = now;
    const auto write = [epoch = epoch_, reached](store::Store& to) {
        return to.remember_measured(epoch, reached);
    };
    if (!at_once) return later(write);
    if (auto written = write(*options_.store); !written)
        log::warning("not remembered: {}", written.error().message);
}

}  // namespace potluck::coordinator
