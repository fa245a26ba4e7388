#include "coordinator/planner/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace potluck::planner {

Predictor::Predictor(const ModelParts& model, const Inventory& inventory, const Workload& work)
    : model_(model), inventory_(inventory), work_(work) {}

const CostTable& Predictor::decode(std::uint32_t rows) {
    const auto found = decode_.find(rows);
    if (found != decode_.end()) return found->second;
    return decode_.emplace(rows, CostTable(model_, inventory_, work_, decode_step(work_, rows)))
        .first->second;
}

const CostTable& Predictor::prefill() {
    if (prefill_.empty()) prefill_.emplace_back(model_, inventory_, work_, prefill_step(work_));
    return prefill_.front();
}

double Predictor::chunks() const {
    return std::max(1.0, static_cast<double>(work_.prompt) / work_.chunk);
}

Predictor::Round Predictor::round(const Pipeline& pipeline) {
    Round best{.seconds = std::numeric_limits<double>::infinity()};
    const auto most = std::min(work_.slots, static_cast<std::uint32_t>(pipeline.size() + 1));
    for (std::uint32_t in_flight = 1; in_flight <= most; ++in_flight) {
        const auto t = times(decode(rows_per_batch(work_.slots, in_flight)), pipeline);
        const double seconds = std::max(t.sum_s, in_flight * t.slowest_s);
        if (seconds < best.seconds) best = {seconds, in_flight};
    }
    return best;
}

double Predictor::seconds(const Pipeline& pipeline, Objective objective) {
    if (objective == Objective::kDecode) return times(decode(1), pipeline).sum_s;
    if (objective == Objective::kThroughput) return round(pipeline).seconds;
    const auto t = times(prefill(), pipeline);
    return t.sum_s + (chunks() - 1) * t.slowest_s;
}

Prediction Predictor::predict(const Pipeline& pipeline) {
    const double token_s = seconds(pipeline, Objective::kDecode);
    Prediction predicted{.prefill_tps = work_.prompt / seconds(pipeline, Objective::kPrefill),
                         .decode_tps = 1 / token_s,
                         .slots_tps = work_.slots / seconds(pipeline, Objective::kThroughput),
                         .way_s = token_s};
    for (const auto& [device, begin, end] : pipeline) {
        predicted.stages_s.push_back(decode(1).stage_s(device, begin, end));
        predicted.way_s -= predicted.stages_s.back();
    }
    return predicted;
}

Bottleneck Predictor::bottleneck(const Pipeline& pipeline, Objective objective) {
    const Round filled = round(pipeline);
    const bool decoding = objective == Objective::kDecode;
    const bool prefilling = objective == Objective::kPrefill;
    const CostTable& table =
        prefilling ? prefill()
                   : decode(decoding ? 1 : rows_per_batch(work_.slots, filled.in_flight));
    const double repeats = decoding ? 1 : prefilling ? chunks() : filled.in_flight;
    const double whole = seconds(pipeline, objective);
    Bottleneck worst;
    const auto consider = [&](double seconds, std::string what) {
        const double share = std::min(seconds * repeats / whole, 1.0);
        if (share > worst.share) worst = {std::move(what), share};
    };
    // Of one token the way counts too; of many, only what a link is taken for.
    double coordinator_s = 0;
    for (std::size_t i = 0; i < pipeline.size(); ++i) {
        const auto& [device, begin, end] = pipeline[i];
        consider(decoding ? table.stage_s(device, begin, end) : table.steady_s(device, begin, end),
                 inventory_.devices[device].name);
        if (i == 0) continue;
        const auto before = pipeline[i - 1].device;
        consider(decoding ? table.hop_s(before, device) : table.hop_busy_s(before, device),
                 fmt::format("the link from {} to {}",
                             inventory_.nodes[inventory_.devices[before].node].name,
                             inventory_.nodes[inventory_.devices[device].node].name));
    }
    if (decoding && !pipeline.empty()) {
        coordinator_s =
            table.first_hop_s(pipeline.front().device) + table.last_hop_s(pipeline.back().device);
        consider(coordinator_s, "the way from and to the coordinator");
    }
    return worst;
}

Instance Predictor::instance(const Pipeline& pipeline) {
    Instance result{.slots = work_.slots};
    const CostTable& table = decode(1);
    const double whole = times(table, pipeline).sum_s;
    for (const auto& stage : pipeline) {
        const auto& device = inventory_.devices[stage.device];
        result.stages.push_back(
            {.stage = stage,
             .memory = memory_use(model_, work_, device, stage.begin, stage.end),
             .decode_share = table.stage_s(stage.device, stage.begin, stage.end) / whole});
    }
    return result;
}

Prediction predict(const ModelParts& model, const Inventory& inventory, const Workload& work,
                   const Pipeline& pipeline) {
    return Predictor(model, inventory, work).predict(pipeline);
}

}  // namespace potluck::planner
