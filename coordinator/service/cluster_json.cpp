// What ClusterKnowledge tells of itself: the body of GET /v1/cluster (docs/api.md).

#include <cmath>

#include <boost/json.hpp>

#include "base/log.h"
#include "coordinator/service/cluster_knowledge.h"

namespace potluck::coordinator {
namespace {

namespace json = boost::json;

/// Plans of earlier epochs that are told.
constexpr std::size_t kToldPlans = 16;

/// To four digits: figures are measured.
double rounded(double value) {
    if (value == 0 || !std::isfinite(value)) return 0;
    const double scale = std::pow(10, 3 - std::floor(std::log10(std::fabs(value))));
    return std::round(value * scale) / scale;
}

json::array to_json(const planner::MatmulRates& rates) {
    return {rounded(rates.gops[0]), rounded(rates.gops[1]), rounded(rates.gops[2])};
}

json::object to_json(double decode_tps, double prefill_tps) {
    return {{"decode_tps", rounded(decode_tps)}, {"prefill_tps", rounded(prefill_tps)}};
}

json::value to_json(const RegisteredDevice& device) {
    json::object out{{"name", device.name},
                     {"arithmetic_class", device.arithmetic_class},
                     {"free_bytes", device.free_bytes}};
    json::array types;
    for (const TensorType type : device.types)
        types.push_back(json::value(to_string(type)));
    out["weight_types"] = std::move(types);
    if (!device.measured) {
        out["probe"] = nullptr;
        return out;
    }
    const planner::Device& measured = *device.measured;
    json::object rates;
    for (const auto& type : measured.by_type)
        rates[to_string(type.type)] = to_json(type.rates);
    out["probe"] = json::object{{"read_gbps", rounded(measured.read_gbps)},
                                {"gops", std::move(rates)},
                                {"attention_gops", to_json(measured.floats)},
                                {"elementwise_gops", to_json(measured.elementwise)},
                                {"layer_overhead_us", rounded(measured.layer_overhead_us)}};
    return out;
}

/// Of a time that one user's token takes, in milliseconds.
json::object times(double predicted_s, double measured_s) {
    return {{"predicted", rounded(predicted_s * 1e3)}, {"measured", rounded(measured_s * 1e3)}};
}

json::object to_json(const Plan& plan, const Recomputed& recomputed,
                     const std::optional<planner::Prediction>& predicted,
                     const MeasuredSpeed& measured) {
    json::array stages;
    const auto again = by_stage(recomputed, plan);
    for (const auto& stage : plan.stages) {
        const std::size_t i = stages.size();
        const StageRecomputed& computed = again[i];
        const double predicted_s =
            predicted && i < predicted->stages_s.size() ? predicted->stages_s[i] : 0;
        stages.push_back(json::object{{"node", stage.node.value},
                                      {"device", stage.device},
                                      {"device_name", stage.device_name},
                                      {"arithmetic_class", stage.arithmetic_class},
                                      {"begin", stage.part.begin},
                                      {"end", stage.part.end},
                                      {"embedding", stage.part.embedding},
                                      {"head", stage.part.head},
                                      {"weight_bytes", stage.weight_bytes},
                                      {"token_ms", times(predicted_s, measured.stage_s(i))},
                                      {"rows_recomputed", computed.rows},
                                      {"row_layers_recomputed", computed.layers}});
    }
    return json::object{{"stages", std::move(stages)},
                        {"way_ms", times(predicted ? predicted->way_s : 0, measured.way_s())},
                        {"context", plan.context},
                        {"slots", plan.slots},
                        {"kv_pages", plan.kv_pages},
                        {"page_tokens", plan.page_tokens},
                        {"kept_from", plan.kept_from},
                        {"rows_kept", recomputed.kept},
                        {"rows_recomputed", recomputed.rows},
                        {"fingerprint", fingerprint(plan)}};
}

std::string_view to_string(DeploymentState state) {
    switch (state) {
        case DeploymentState::kWaiting:
            return "waiting";
        case DeploymentState::kPreparing:
            return "preparing";
        case DeploymentState::kConnecting:
            return "connecting";
        case DeploymentState::kWarming:
            return "warming";
        case DeploymentState::kReady:
            return "ready";
    }
    return "unknown";
}

}  // namespace

std::string ClusterKnowledge::json(const Deployment& deployment, const Availability& availability,
                                   const Recomputed& recomputed,
                                   std::uint64_t refused_greetings) const {
    json::array nodes;
    for (const auto& [id, node] : surveyed_.nodes) {
        json::array devices;
        for (const auto& device : node.registration.devices)
            devices.push_back(to_json(device));
        const auto shown = availability.shown(id);
        nodes.push_back(json::object{{"id", id.value},
                                     {"name", node.name},
                                     {"address", node.registration.address},
                                     {"state", shown.state},
                                     {"why", shown.why},
                                     {"holds", shown.holds},
                                     {"devices", std::move(devices)}});
    }
    json::array links;
    for (const auto& [ends, link] : surveyed_.links) {
        links.push_back(json::object{{"a", ends.first.value},
                                     {"b", ends.second.value},
                                     {"rtt_ms", rounded(link.rtt_ms)},
                                     {"gbits", rounded(link.gbits)}});
    }
    const auto& plan = deployment.plan();
    json::array history;
    if (const auto plans = options_.store->plans()) {
        for (const auto& record : *plans) {
            if (history.size() == kToldPlans) break;
            history.push_back(json::object{
                {"epoch", record.epoch.value},
                {"model", record.model},
                {"stages", record.stages},
                {"predicted", to_json(record.predicted.decode_tps, record.predicted.prefill_tps)},
                {"measured", to_json(record.measured.decode_tps, record.measured.prefill_tps)},
                {"made", record.made}});
        }
    } else {
        log::warning("{}", plans.error().message);
    }
    json::object out{
        {"cluster", options_.cluster_id},
        {"model", options_.model},
        {"state", to_string(deployment.state())},
        {"status", status(deployment)},
        {"epoch", plan ? plan->epoch.value : 0},
        {"plan", plan ? json::value(to_json(*plan, recomputed, predicted_, measured_))
                      : json::value(nullptr)},
        {"nodes", std::move(nodes)},
        {"links", std::move(links)},
        {"drained",
         json::array(availability.all_drained().begin(), availability.all_drained().end())},
        {"left_out", json::array(left_out_.begin(), left_out_.end())},
        {"planner", no_plan_reason_},
        {"refused", refused_greetings + (options_.refused ? options_.refused() : 0)},
        {"predicted", plan && predicted_ ? to_json(predicted_->decode_tps, predicted_->prefill_tps)
                                         : json::object()},
        {"corrected_decode_tps", plan ? rounded(corrected_decode_tps_) : 0},
        {"measured", plan ? to_json(speed().decode_tps, speed().prefill_tps) : json::object()},
        {"plans", std::move(history)}};
    return json::serialize(out);
}

}  // namespace potluck::coordinator
