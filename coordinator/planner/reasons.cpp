#include "coordinator/planner/reasons.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/byte_text.h"
#include "coordinator/planner/best_pipeline.h"

namespace potluck::planner {
namespace {

std::string rate_of(Predictor& predictor, Objective objective, double seconds) {
    const Workload& work = predictor.work();
    const double tokens = objective == Objective::kDecode    ? 1
                          : objective == Objective::kPrefill ? work.prompt
                                                             : work.slots;
    return fmt::format("{:.1f}", tokens / seconds);
}

std::vector<std::string_view> missing_types(const ModelParts& model, const Device& device) {
    std::vector<std::string_view> names;
    for (const TensorType type : model.matrix_types())
        if (!device.supports(type)) names.push_back(to_string(type));
    return names;
}

/// Empty if the device could hold at least the lightest layer.
std::string cannot_hold(Predictor& predictor, std::uint32_t device) {
    const ModelParts& model = predictor.model();
    const auto& d = predictor.inventory().devices[device];
    if (const auto types = missing_types(model, d); !types.empty())
        return fmt::format("cannot multiply by {}", fmt::join(types, ", "));
    std::uint64_t least = ~std::uint64_t{0};
    for (std::uint32_t layer = 0; layer < model.sizes.n_layers; ++layer) {
        if (predictor.decode(1).fits(device, layer, layer + 1)) return {};
        least = std::min(least, memory_use(model, predictor.work(), d, layer, layer + 1).total());
    }
    return fmt::format(
        "too little memory: {} free, one layer with its cache, buffers and headroom "
        "needs {}",
        byte_text(d.memory_bytes), byte_text(least));
}

/// The best place for one more device in a pipeline, whose order stays as it is.
double seconds_with(Predictor& predictor, Objective objective, const Pipeline& pipeline,
                    std::uint32_t device) {
    std::vector<std::uint32_t> order;
    for (const auto& stage : pipeline)
        order.push_back(stage.device);
    double best = std::numeric_limits<double>::infinity();
    for (std::size_t at = 0; at <= order.size(); ++at) {
        auto longer = order;
        longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(at), device);
        best = std::min(best, best_pipeline(predictor, objective, {.order = longer}).seconds);
    }
    return best;
}

std::string reason(Predictor& predictor, Objective objective, const RankedPlan& plan,
                   std::uint32_t device) {
    if (std::string text = cannot_hold(predictor, device); !text.empty()) return text;
    if (plan.instances.size() > 1) {
        const ModelParts& model = predictor.model();
        Workload one = predictor.work();
        one.slots = 1;
        const auto& d = predictor.inventory().devices[device];
        const auto need = memory_use(model, one, d, 0, model.sizes.n_layers).total();
        if (need > d.memory_bytes)
            return fmt::format("cannot hold a replica: {} free, it needs {}",
                               byte_text(d.memory_bytes), byte_text(need));
        return "a replica here would only take slots from faster ones";
    }
    Pipeline pipeline;
    for (const auto& stage : plan.instances.front().stages)
        pipeline.push_back(stage.stage);
    const double with = seconds_with(predictor, objective, pipeline, device);
    const double without = predictor.seconds(pipeline, objective);
    if (with == std::numeric_limits<double>::infinity())
        return "does not fit beside the others: there is no cut that holds";
    return fmt::format("{}: {} tok/s with it, {} without",
                       with <= without * (1 + kTolerance) ? "adds nothing" : "makes it slower",
                       rate_of(predictor, objective, with), rate_of(predictor, objective, without));
}

}  // namespace

std::vector<LeftOut> reasons(Predictor& predictor, Objective objective, const RankedPlan& plan) {
    std::vector<bool> used(predictor.inventory().devices.size(), false);
    for (const auto& instance : plan.instances)
        for (const auto& stage : instance.stages)
            used[stage.stage.device] = true;
    std::vector<LeftOut> result;
    for (std::uint32_t d = 0; d < used.size(); ++d)
        if (!used[d]) result.push_back({d, reason(predictor, objective, plan, d)});
    return result;
}

tl::unexpected<Error> nothing_fits(Predictor& predictor) {
    const ModelParts& model = predictor.model();
    const auto& devices = predictor.inventory().devices;
    std::uint64_t memory = 0;
    std::size_t able = 0;
    for (const auto& device : devices) {
        if (!missing_types(model, device).empty()) continue;
        ++able;
        memory += device.memory_bytes;
    }
    if (able == 0) {
        return error(ErrorCode::kUnsupported,
                     fmt::format("none of the {} devices can multiply by {}", devices.size(),
                                 fmt::join(missing_types(model, devices.front()), ", ")));
    }
    const Workload& work = predictor.work();
    const std::uint64_t kv =
        model.kv_bytes_per_token_layer * model.sizes.n_layers * work.context * work.slots;
    return error(
        ErrorCode::kResourceExhausted,
        fmt::format("no plan holds {}: its weights need {}, the cache of {} contexts of {} tokens "
                    "{}, and each device buffers and headroom besides; the {} devices have {}. A "
                    "smaller context or fewer slots need less",
                    model.sizes.name, byte_text(model.bytes()), work.slots, work.context,
                    byte_text(kv), able, byte_text(memory)));
}

}  // namespace potluck::planner
