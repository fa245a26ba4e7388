#include "coordinator/survey/live_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "coordinator/planner/best_pipeline.h"
#include "coordinator/planner/reasons.h"

namespace potluck::coordinator {
namespace {

constexpr std::uint32_t kDepth = 128;
constexpr std::uint32_t kPrompt = 512;
/// Rows of a step of such a prompt, about what the scheduler makes of it.
constexpr std::uint32_t kChunk = 128;

struct Place {
    NodeId node;
    std::uint32_t device = 0;
};

/// If a step of one row takes so many times as long. What many rows take is another matter.
planner::Device slowed(planner::Device device, double times) {
    device.read_gbps /= times;
    device.layer_overhead_us *= times;
    for (auto* rates : {&device.quantised, &device.floats, &device.elementwise})
        rates->gops[0] /= times;
    for (auto& type : device.by_type)
        type.rates.gops[0] /= times;
    return device;
}

/// The planner's view of some devices, in their order.
Result<planner::Inventory> make_inventory(const Surveyed& surveyed,
                                          const std::vector<Place>& places,
                                          const std::vector<std::string>& names) {
    planner::Inventory inventory;
    std::vector<NodeId> nodes{kCoordinatorNode};
    for (std::size_t i = 0; i < places.size(); ++i) {
        const auto [node, index] = places[i];
        const auto found = surveyed.nodes.find(node);
        if (found == surveyed.nodes.end() || index >= found->second.registration.devices.size())
            return error(ErrorCode::kInternal, names[i] + " is not registered");
        const auto& device = found->second.registration.devices[index];
        if (!device.measured) return error(ErrorCode::kUnsupported, names[i] + " was not measured");
        const auto served = surveyed.slowness.find({node, index});
        planner::Device known = served == surveyed.slowness.end()
                                    ? *device.measured
                                    : slowed(*device.measured, served->second);
        known.name = names[i];
        auto at = std::ranges::find(nodes, node);
        if (at == nodes.end()) at = nodes.insert(nodes.end(), node);
        known.node = static_cast<std::uint32_t>(at - nodes.begin());
        inventory.devices.push_back(std::move(known));
    }
    if (inventory.devices.size() > planner::kMaxDevices || nodes.size() > planner::kMaxNodes)
        return error(ErrorCode::kUnsupported, "there are more machines than can be planned");
    for (const NodeId node : nodes) {
        const auto found = surveyed.nodes.find(node);
        inventory.nodes.push_back(
            {found == surveyed.nodes.end() ? "the coordinator" : found->second.name});
    }
    for (const NodeId a : nodes) {
        for (const NodeId b : nodes) {
            const auto known = surveyed.links.find(link_between(a, b));
            inventory.links.push_back(known == surveyed.links.end() ? planner::Link{}
                                                                    : known->second);
        }
    }
    return inventory;
}

std::vector<std::string> reasons_for(planner::Predictor& predictor, const PlanWish& wish,
                                     const planner::Pipeline& pipeline) {
    planner::RankedPlan plan;
    plan.instances.push_back(predictor.instance(pipeline));
    plan.predicted = predictor.predict(pipeline);
    std::vector<std::string> lines;
    for (const auto& [device, reason] : planner::reasons(predictor, wish.objective, plan))
        lines.push_back(fmt::format("{}: {}", predictor.inventory().devices[device].name, reason));
    return lines;
}

}  // namespace

std::pair<NodeId, NodeId> link_between(NodeId a, NodeId b) {
    return a < b ? std::pair{a, b} : std::pair{b, a};
}

planner::Workload workload_of(const PlanRequest& request, std::uint32_t context_length) {
    planner::Workload work;
    work.context = request.context == 0 ? context_length : request.context;
    work.slots = std::clamp<std::uint32_t>(request.slots, 1, 256);
    work.depth = std::min(kDepth, work.context);
    work.prompt = std::min(kPrompt, work.context);
    work.chunk =
        std::max<std::uint32_t>(std::min({request.max_batch_rows, work.prompt, kChunk}), 1);
    return work;
}

Result<Choice> choose(const planner::ModelParts& model, const Surveyed& surveyed,
                      const std::vector<DeviceOffer>& devices, const PlanWish& wish) {
    std::vector<Place> places;
    std::vector<std::string> names;
    for (const auto& device : devices) {
        places.push_back({device.node, device.device});
        names.push_back(device.name);
    }
    POTLUCK_ASSIGN(auto inventory, make_inventory(surveyed, places, names));
    for (std::size_t i = 0; i < devices.size(); ++i)
        inventory.devices[i].memory_bytes = devices[i].free_bytes;
    const planner::Among among{
        .least_stages =
            wish.use_all ? std::min<std::size_t>(devices.size(), model.sizes.n_layers) : 1};
    // Where the caches of all slots do not fit, the cluster takes what memory has: at least one's.
    for (const std::uint32_t slots : {wish.work.slots, 1U}) {
        planner::Workload work = wish.work;
        work.slots = slots;
        planner::Predictor predictor(model, inventory, work);
        const auto best = planner::best_pipeline(predictor, wish.objective, among);
        if (best.pipeline.empty()) continue;
        Choice choice;
        for (const auto& stage : best.pipeline) {
            const Place& place = places[stage.device];
            choice.stages.push_back({place.node, place.device, stage.end - stage.begin});
        }
        choice.left_out = reasons_for(predictor, wish, best.pipeline);
        return choice;
    }
    return error(ErrorCode::kResourceExhausted, "no pipeline of these devices holds the model");
}

Result<planner::Prediction> predict(const planner::ModelParts& model, const Surveyed& surveyed,
                                    const Plan& plan, const PlanWish& wish) {
    std::vector<Place> places;
    std::vector<std::string> names;
    planner::Pipeline pipeline;
    for (const auto& stage : plan.stages) {
        pipeline.push_back(
            {static_cast<std::uint32_t>(places.size()), stage.part.begin, stage.part.end});
        places.push_back({stage.node, stage.device});
        names.push_back(stage.device_name);
    }
    POTLUCK_ASSIGN(const auto inventory, make_inventory(surveyed, places, names));
    return planner::predict(model, inventory, wish.work, pipeline);
}

std::vector<StageCost> first_costs(const Surveyed& surveyed, const Plan& plan,
                                   std::uint64_t row_bytes) {
    const auto link = [&](NodeId a, NodeId b) {
        const auto known = surveyed.links.find(link_between(a, b));
        return known == surveyed.links.end() ? planner::Link{} : known->second;
    };
    const auto one_way = [](const planner::Link& used) {
        return nanoseconds(static_cast<std::int64_t>(used.rtt_ms * 1e6 / 2));
    };
    auto costs = guessed_costs(plan.stages.size());
    for (std::size_t i = 0; i + 1 < costs.size(); ++i) {
        const NodeId from = plan.stages[i].node;
        const NodeId to = plan.stages[i + 1].node;
        if (from == to) continue;
        const auto used = link(from, to);
        costs[i].hop = one_way(used);
        const double bits = static_cast<double>(row_bytes) * 8;
        if (used.gbits > 0)
            costs[i].hop_per_row = nanoseconds(static_cast<std::int64_t>(bits / used.gbits));
    }
    costs.back().hop = one_way(link(plan.stages.back().node, kCoordinatorNode)) +
                       one_way(link(kCoordinatorNode, plan.stages.front().node));
    return costs;
}

}  // namespace potluck::coordinator
