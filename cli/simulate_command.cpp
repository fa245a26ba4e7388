// `potluck simulate scheduler`: the scheduler at scale, in virtual time, without a model.

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>

#include "cli/commands.h"
#include "cli/failure.h"
#include "coordinator/core/plan.h"
#include "coordinator/simulate/micro_batching.h"
#include "coordinator/simulate/report.h"
#include "coordinator/simulate/simulation.h"
#include "coordinator/simulate/stages_file.h"

namespace potluck::cli {
namespace {

using simulate::nanoseconds;

nanoseconds from_seconds(double seconds) {
    return nanoseconds(std::llround(seconds * 1e9));
}

Result<simulate::PipelineModel> pipeline_model(const SimulateSchedulerOptions& o) {
    if (!o.stages_file.empty()) {
        std::ifstream in(o.stages_file, std::ios::binary);
        if (!in) return error(ErrorCode::kNotFound, o.stages_file + ": cannot be read");
        auto model = simulate::read_stages(std::string(std::istreambuf_iterator<char>(in), {}));
        if (!model) return with_context(std::move(model.error()), o.stages_file);
        return model;
    }
    if (o.stages.size() > simulate::kMostStages) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("--stages has {}, at most {} are simulated", o.stages.size(),
                                 simulate::kMostStages));
    }
    simulate::PipelineModel model;
    const auto stage = simulate::StageCost::linear(from_seconds(o.base_ms / 1e3),
                                                   from_seconds(o.row_us / 1e6), o.key_ns);
    for (const double factor : o.stages)
        model.stages.push_back(stage.scaled(factor));
    model.links.assign(o.stages.size() + 1, {.delay = from_seconds(o.link_ms / 1e3),
                                             .bytes_per_second = o.bandwidth_mbit * 1e6 / 8});
    model.activation_bytes = o.activation_bytes;
    return model;
}

Result<simulate::Spread> spread(const std::string& name) {
    if (name == "fixed") return simulate::Spread::kFixed;
    if (name == "uniform") return simulate::Spread::kUniform;
    if (name == "long") return simulate::Spread::kLong;
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("--spread is fixed, uniform or long, not '{}'", name));
}

Result<simulate::SimulationOptions> simulation_options(const SimulateSchedulerOptions& o) {
    simulate::SimulationOptions s;
    POTLUCK_ASSIGN(s.pipeline, pipeline_model(o));
    auto& w = s.workload;
    POTLUCK_ASSIGN(w.spread, spread(o.spread));
    w.seed = o.seed;
    w.users = o.users;
    w.arrivals_per_second = o.rate;
    w.think = from_seconds(o.think_s);
    w.prompt = o.prompt;
    w.answer = o.answer;
    w.shared_prefix = o.shared_prefix;
    w.prefix_tokens = o.prefix_tokens;
    w.continued = o.continued;
    w.tenants = o.tenants;
    w.context = o.context;
    s.scheduler.prefill_chunk = o.prefill_chunk;
    s.scheduler.queue_limit = o.queue;
    auto& limits = s.limits;
    limits.max_in_flight = o.max_in_flight > 0
                               ? o.max_in_flight
                               : coordinator::most_in_flight(s.pipeline.stages.size());
    limits.max_batch_rows = o.max_batch_rows;
    limits.context = o.context;
    limits.slots = o.slots > 0 ? o.slots : o.users;
    const std::size_t each = (o.context + limits.page_tokens - 1) / limits.page_tokens;
    limits.kv_pages = o.kv_pages > 0 ? o.kv_pages : limits.slots * each;
    s.duration = from_seconds(o.seconds);
    s.warm_up = from_seconds(o.warm_up_s >= 0 ? o.warm_up_s : o.seconds / 6);
    if (s.warm_up >= s.duration)
        return error(ErrorCode::kInvalidArgument, "--warm-up leaves nothing of --seconds");
    return s;
}

}  // namespace

int run_simulate_scheduler(const SimulateSchedulerOptions& options) {
    const auto simulation = simulation_options(options);
    if (!simulation) return fail(simulation.error());
    const auto result = simulate::simulate(*simulation);
    if (!result) return fail(result.error());
    std::optional<simulate::MicroBatchingResult> batching;
    if (!options.no_compare) {
        auto compared = simulate::compare_micro_batching(
            *simulation, {.users = options.users, .prompt = options.prompt});
        if (!compared) return fail(compared.error());
        batching = std::move(*compared);
    }
    std::cout << (options.json ? to_json(*result, batching) : to_table(*result, batching));
    return 0;
}

}  // namespace potluck::cli
