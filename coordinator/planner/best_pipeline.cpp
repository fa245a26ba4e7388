#include "coordinator/planner/best_pipeline.h"

#include <algorithm>
#include <limits>

namespace potluck::planner {
namespace {

/// Sets of devices, those that are the same counted once, up to which the search is exact: ten
/// different devices, or more of fewer kinds.
constexpr double kMaxExactSets = 1024;
/// Labels kept after each stage: more than an exact search was ever seen to need, and a few for
/// homes that are larger.
constexpr std::size_t kExactLabels = 400'000;
constexpr std::size_t kBoundedLabels = 4'000;

std::size_t max_labels(const Inventory& inventory) {
    const auto twins = find_twins(inventory);
    double sets = 1;
    std::vector<double> alike(twins.size(), 1);  ///< so many of a kind up to this device
    for (std::size_t i = 0; i < twins.size(); ++i) {
        if (twins[i] >= 0) alike[i] = alike[static_cast<std::size_t>(twins[i])] + 1;
        // k of a kind make k + 1 sets: the k-th turns a factor of k into k + 1.
        sets *= (alike[i] + 1) / alike[i];
    }
    return sets <= kMaxExactSets ? kExactLabels : kBoundedLabels;
}

/// One row takes as long wherever equal devices are cut, but prompts and many users want them all
/// to be busy: among cuts of the same devices that decode as fast, the one that is best for
/// prompts.
void cut_for_prompts(Predictor& predictor, std::size_t most_labels, BestPipeline& best) {
    if (best.pipeline.size() < 2) return;
    SearchOptions options{.cost = {.slowest_weight = predictor.chunks() - 1},
                          .least_stages = best.pipeline.size(),
                          .max_labels = most_labels};
    for (const auto& stage : best.pipeline)
        options.order.push_back(stage.device);
    const auto found = find_pipeline(predictor.prefill(), predictor.inventory(), options);
    if (found.pipeline.size() < best.pipeline.size()) return;
    const double seconds = predictor.seconds(found.pipeline, Objective::kDecode);
    if (seconds > best.seconds * (1 + kTolerance)) return;
    best.pipeline = found.pipeline;
    best.seconds = seconds;
}

}  // namespace

BestPipeline best_pipeline(Predictor& predictor, Objective objective, const Among& among) {
    const Workload& work = predictor.work();
    const Inventory& inventory = predictor.inventory();
    SearchOptions options{.least_stages = among.least_stages,
                          .max_labels = max_labels(inventory),
                          .allowed = among.devices,
                          .order = among.order};
    BestPipeline best{.seconds = std::numeric_limits<double>::infinity(),
                      .lower_bound_s = std::numeric_limits<double>::infinity()};
    const auto search = [&](const CostTable& table) {
        options.worthwhile_below = best.seconds;
        const auto found = find_pipeline(table, inventory, options);
        best.lower_bound_s = std::min(best.lower_bound_s, found.lower_bound);
        if (found.pipeline.empty()) return;
        const double seconds = predictor.seconds(found.pipeline, objective);
        if (seconds < best.seconds) {
            best.seconds = seconds;
            best.pipeline = found.pipeline;
        }
    };
    if (objective == Objective::kDecode) {
        search(predictor.decode(1));
        // With an order given, only the time is asked for.
        if (among.order.empty()) cut_for_prompts(predictor, options.max_labels, best);
    } else if (objective == Objective::kPrefill) {
        options.cost.slowest_weight = predictor.chunks() - 1;
        search(predictor.prefill());
    } else {
        // With g batches under way a round takes max(the way, g × the slowest), of slots / g rows.
        const auto most = std::min<std::size_t>(work.slots, inventory.devices.size() + 1);
        for (std::uint32_t g = 1; g <= most; ++g) {
            options.cost.in_flight = g;
            options.least_stages = std::max<std::size_t>(among.least_stages, g - 1);
            search(predictor.decode(Predictor::rows_per_batch(work.slots, g)));
        }
    }
    best.lower_bound_s = std::min(best.lower_bound_s, best.seconds);
    return best;
}

}  // namespace potluck::planner
