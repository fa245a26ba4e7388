#include "coordinator/planner/planner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "coordinator/planner/best_pipeline.h"
#include "coordinator/planner/reasons.h"
#include "coordinator/planner/replicas.h"

namespace potluck::planner {
namespace {

constexpr std::uint32_t kMaxSlots = 256;

Status check(const ModelParts& model, const Inventory& inventory, const PlanRequest& request) {
    const auto& work = request.work;
    const auto wrong = [](std::string text) {
        return error(ErrorCode::kInvalidArgument, std::move(text));
    };
    if (inventory.devices.empty()) return wrong("there is no device to plan for");
    if (inventory.devices.size() > kMaxDevices || inventory.nodes.size() > kMaxNodes) {
        return wrong(fmt::format("{} devices on {} nodes: at most {} and {} can be planned",
                                 inventory.devices.size(), inventory.nodes.size(), kMaxDevices,
                                 kMaxNodes));
    }
    if (work.context == 0 || work.context > model.sizes.context_length) {
        return wrong(fmt::format("a context of {} is asked for, the model was made for {}",
                                 work.context, model.sizes.context_length));
    }
    if (work.slots == 0 || work.slots > kMaxSlots)
        return wrong(fmt::format("slots must be 1 to {}, not {}", kMaxSlots, work.slots));
    if (work.chunk == 0 || work.prompt == 0) return wrong("prompt and chunk must not be zero");
    if (work.depth > work.context || work.prompt > work.context) {
        return wrong(
            fmt::format("a prompt of {} and a depth of {} must be within the context of {}",
                        work.prompt, work.depth, work.context));
    }
    return {};
}

std::string shape_of(const Inventory& inventory, const std::vector<Instance>& instances) {
    if (instances.size() > 1) return fmt::format("{} replicas", instances.size());
    std::set<std::uint32_t> nodes;
    for (const auto& stage : instances.front().stages)
        nodes.insert(inventory.devices[stage.stage.device].node);
    if (instances.front().stages.size() == 1) return "one device";
    if (nodes.size() == 1) return "devices of one node";
    return fmt::format("pipeline over {} nodes", nodes.size());
}

bool same_place(const RankedPlan& a, const RankedPlan& b) {
    return std::equal(
        a.instances.begin(), a.instances.end(), b.instances.begin(), b.instances.end(),
        [](const Instance& x, const Instance& y) {
            return std::equal(
                x.stages.begin(), x.stages.end(), y.stages.begin(), y.stages.end(),
                [](const StageReport& p, const StageReport& q) { return p.stage == q.stage; });
        });
}

/// Collects the plans worth showing.
class Planner {
  public:
    Planner(const ModelParts& model, const Inventory& inventory, const PlanRequest& request)
        : inventory_(inventory), request_(request), predictor_(model, inventory, request.work) {}

    Result<Planning> run() {
        const auto best = best_pipeline(predictor_, request_.objective);
        if (!best.pipeline.empty()) {
            if (best.lower_bound_s < best.seconds * (1 - kTolerance)) {
                planning_.exact = false;
                planning_.gap = best.seconds / best.lower_bound_s - 1;
            }
            add(best.pipeline);
            add_nodes();
        }
        // Copies may hold all slots together where none holds them alone.
        if (request_.work.slots > 1) add_replicas();
        if (planning_.plans.empty()) return nothing_fits(predictor_);
        const Pipeline even = split_by_memory(predictor_.model(), inventory_);
        if (!even.empty() && predictor_.fits(even)) add(even, ", split by memory");
        std::stable_sort(planning_.plans.begin(), planning_.plans.end(),
                         [&](const RankedPlan& a, const RankedPlan& b) {
                             return a.score(request_.objective) > b.score(request_.objective);
                         });
        planning_.left_out = reasons(predictor_, request_.objective, planning_.plans.front());
        return std::move(planning_);
    }

  private:
    void add(const Pipeline& pipeline, const std::string& remark = {}) {
        RankedPlan plan;
        plan.instances.push_back(predictor_.instance(pipeline));
        plan.predicted = predictor_.predict(pipeline);
        plan.bottleneck = predictor_.bottleneck(pipeline, request_.objective);
        plan.shape = shape_of(inventory_, plan.instances) + remark;
        keep(std::move(plan));
    }
    void keep(RankedPlan plan) {
        for (const auto& other : planning_.plans)
            if (same_place(plan, other)) return;
        planning_.plans.push_back(std::move(plan));
    }
    /// Each device alone, and the devices of each node together.
    void add_nodes() {
        std::vector<std::uint64_t> of_node(inventory_.nodes.size(), 0);
        const auto twins = find_twins(inventory_);
        for (std::uint32_t d = 0; d < inventory_.devices.size(); ++d) {
            of_node[inventory_.devices[d].node] |= std::uint64_t{1} << d;
            const Pipeline alone{{d, 0, predictor_.model().sizes.n_layers}};
            if (twins[d] < 0 && predictor_.fits(alone)) add(alone);
        }
        for (const std::uint64_t devices : of_node) {
            if ((devices & (devices - 1)) == 0) continue;
            const auto best = best_pipeline(predictor_, request_.objective,
                                            {.devices = devices, .least_stages = 2});
            if (!best.pipeline.empty()) add(best.pipeline);
        }
    }
    void add_replicas();

    const Inventory& inventory_;
    const PlanRequest& request_;
    Predictor predictor_;
    Planning planning_;
};

void Planner::add_replicas() {
    const auto replicas = best_replicas(predictor_.model(), inventory_, request_.work);
    if (replicas.size() < 2) return;
    RankedPlan plan;
    for (const auto& [pipeline, slots] : replicas) {
        Workload work = request_.work;
        work.slots = slots;
        Predictor own(predictor_.model(), inventory_, work);
        const Prediction figures = own.predict(pipeline);
        plan.instances.push_back(own.instance(pipeline));
        plan.predicted.slots_tps += figures.slots_tps;
        plan.predicted.decode_tps = std::max(plan.predicted.decode_tps, figures.decode_tps);
        plan.predicted.prefill_tps = std::max(plan.predicted.prefill_tps, figures.prefill_tps);
        const Bottleneck own_neck = own.bottleneck(pipeline, request_.objective);
        if (own_neck.share > plan.bottleneck.share) plan.bottleneck = own_neck;
    }
    plan.shape = shape_of(inventory_, plan.instances);
    keep(std::move(plan));
}

}  // namespace

double RankedPlan::score(Objective objective) const {
    if (objective == Objective::kDecode) return predicted.decode_tps;
    return objective == Objective::kPrefill ? predicted.prefill_tps : predicted.slots_tps;
}

Pipeline split_by_memory(const ModelParts& model, const Inventory& inventory) {
    const auto layers = static_cast<std::uint32_t>(model.layers.size());
    const auto n = static_cast<std::uint32_t>(inventory.devices.size());
    if (n == 0 || n > layers) return {};
    double total = 0;
    for (const auto& device : inventory.devices)
        total += static_cast<double>(device.memory_bytes);
    Pipeline pipeline;
    double wanted = 0;
    std::uint32_t given = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
        wanted += layers * static_cast<double>(inventory.devices[i].memory_bytes) / total;
        // At least one layer each, and one left for each that follows.
        auto until =
            std::clamp(static_cast<std::uint32_t>(wanted + 0.5), given + 1, layers - (n - 1 - i));
        if (i + 1 == n) until = layers;
        pipeline.push_back({i, given, until});
        given = until;
    }
    return pipeline;
}

Result<Planning> make_plans(const ModelParts& model, const Inventory& inventory,
                            const PlanRequest& request) {
    POTLUCK_TRY(check(model, inventory, request));
    return Planner(model, inventory, request).run();
}

}  // namespace potluck::planner
