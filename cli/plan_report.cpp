#include "cli/plan_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/byte_text.h"

namespace potluck::cli {
namespace {

using planner::Instance;
using planner::RankedPlan;

std::string_view name_of(planner::Objective objective) {
    if (objective == planner::Objective::kDecode) return "decode";
    return objective == planner::Objective::kPrefill ? "prefill" : "throughput";
}

std::string stages_text(const PlanReport& report, const Instance& instance) {
    std::vector<std::string> parts;
    for (const auto& [stage, memory, share] : instance.stages) {
        parts.push_back(fmt::format("{} {}..{}", report.inventory.devices[stage.device].name,
                                    stage.begin, stage.end));
    }
    return fmt::format("{}", fmt::join(parts, " -> "));
}

std::string plan_line(const PlanReport& report, std::size_t number, const RankedPlan& plan) {
    std::vector<std::string> copies;
    for (const auto& instance : plan.instances)
        copies.push_back(stages_text(report, instance));
    const auto& p = plan.predicted;
    return fmt::format("{:>3}  {:>9.1f}  {:>8.1f}  {:>8.1f}  {}: {}\n", number, p.prefill_tps,
                       p.decode_tps, p.slots_tps, plan.shape, fmt::join(copies, " | "));
}

std::string memory_table(const PlanReport& report, const RankedPlan& plan) {
    std::size_t width = 6;
    for (const auto& device : report.inventory.devices)
        width = std::max(width, device.name.size());
    std::string text =
        fmt::format("  {:<{}}  {:>8}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}\n", "device", width,
                    "layers", "weights", "cache", "buffers", "headroom", "free", "of a token");
    for (const auto& instance : plan.instances) {
        for (const auto& [stage, memory, share] : instance.stages) {
            const auto& device = report.inventory.devices[stage.device];
            text += fmt::format("  {:<{}}  {:>8}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>8.0f} %\n",
                                device.name, width, fmt::format("{}..{}", stage.begin, stage.end),
                                byte_text(memory.weights), byte_text(memory.kv),
                                byte_text(memory.buffers), byte_text(memory.headroom),
                                byte_text(device.memory_bytes), share * 100);
        }
    }
    return text;
}

std::vector<std::string_view> not_drivable(const PlanReport& report) {
    std::vector<std::string_view> names;
    for (const auto& device : report.inventory.devices)
        if (!device.drivable) names.push_back(device.name);
    return names;
}

std::set<std::string_view> classes(const PlanReport& report, const RankedPlan& plan) {
    std::set<std::string_view> found;
    for (const auto& instance : plan.instances)
        for (const auto& stage : instance.stages)
            found.insert(report.inventory.devices[stage.stage.device].arithmetic_class);
    return found;
}

boost::json::object stage_json(const PlanReport& report, const planner::StageReport& s) {
    const auto& device = report.inventory.devices[s.stage.device];
    return {{"device", device.name},
            {"node", report.inventory.nodes[device.node].name},
            {"drivable", device.drivable},
            {"arithmetic_class", device.arithmetic_class},
            {"begin", s.stage.begin},
            {"end", s.stage.end},
            {"weight_bytes", s.memory.weights},
            {"kv_bytes", s.memory.kv},
            {"buffer_bytes", s.memory.buffers},
            {"headroom_bytes", s.memory.headroom},
            {"memory_bytes", device.memory_bytes},
            {"decode_share", s.decode_share}};
}

boost::json::object plan_json(const PlanReport& report, const RankedPlan& plan) {
    boost::json::array instances;
    for (const auto& instance : plan.instances) {
        boost::json::array stages;
        for (const auto& stage : instance.stages)
            stages.push_back(stage_json(report, stage));
        instances.push_back(
            boost::json::object{{"slots", instance.slots}, {"stages", std::move(stages)}});
    }
    return {{"shape", plan.shape},
            {"prefill_tps", plan.predicted.prefill_tps},
            {"decode_tps", plan.predicted.decode_tps},
            {"slots_tps", plan.predicted.slots_tps},
            {"bottleneck",
             boost::json::object{{"what", plan.bottleneck.what}, {"share", plan.bottleneck.share}}},
            {"instances", std::move(instances)}};
}

}  // namespace

std::string to_table(const PlanReport& report) {
    const auto& [model, inventory, request, planning] = report;
    const auto& work = request.work;
    std::string text = fmt::format(
        "{}: {} layers, {} of weights; context {} x {} slot{}, ranked by {}\n"
        "predicted tokens/s: a prompt of {}; one user and all slots behind {} tokens\n\n",
        model.sizes.name, model.sizes.n_layers, byte_text(model.bytes()), work.context, work.slots,
        work.slots == 1 ? "" : "s", name_of(request.objective), work.prompt, work.depth);
    text += fmt::format("{:>3}  {:>9}  {:>8}  {:>8}  {}\n", "", "prompt", "one user",
                        fmt::format("{} slot{}", work.slots, work.slots == 1 ? "" : "s"), "plan");
    for (std::size_t i = 0; i < planning.plans.size(); ++i)
        text += plan_line(report, i + 1, planning.plans[i]);
    const auto& best = planning.plans.front();
    text += "\nplan 1\n" + memory_table(report, best);
    text += fmt::format("bottleneck: {}, {:.0f} % of the time\n", best.bottleneck.what,
                        best.bottleneck.share * 100);
    const auto found = classes(report, best);
    text += fmt::format("arithmetic: {}\n", fmt::join(found, ", "));
    for (const auto& [device, reason] : planning.left_out)
        text += fmt::format("left out: {}: {}\n", inventory.devices[device].name, reason);
    if (!planning.exact) {
        text += fmt::format("search: bounded; another pipeline could be at most {:.1f} % faster\n",
                            planning.gap * 100);
    }
    if (const auto names = not_drivable(report); !names.empty())
        text += fmt::format("cannot be driven by this build: {}\n", fmt::join(names, ", "));
    return text;
}

std::string to_json(const PlanReport& report) {
    const auto& [model, inventory, request, planning] = report;
    boost::json::array plans;
    for (const auto& plan : planning.plans)
        plans.push_back(plan_json(report, plan));
    boost::json::array left_out;
    for (const auto& [device, reason] : planning.left_out) {
        left_out.push_back(
            boost::json::object{{"device", inventory.devices[device].name}, {"reason", reason}});
    }
    boost::json::array undrivable;
    for (const auto name : not_drivable(report))
        undrivable.push_back(boost::json::string(name));
    const boost::json::object object{{"model", model.sizes.name},
                                     {"layers", model.sizes.n_layers},
                                     {"weight_bytes", model.bytes()},
                                     {"objective", name_of(request.objective)},
                                     {"context", request.work.context},
                                     {"slots", request.work.slots},
                                     {"depth", request.work.depth},
                                     {"prompt", request.work.prompt},
                                     {"exact", planning.exact},
                                     {"gap", planning.gap},
                                     {"plans", std::move(plans)},
                                     {"left_out", std::move(left_out)},
                                     {"cannot_be_driven", std::move(undrivable)}};
    return boost::json::serialize(object) + "\n";
}

}  // namespace potluck::cli
