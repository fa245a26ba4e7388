// `potluck plan`: where a model would run best, on this machine or on machines that are described
// in a file and need not exist yet.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "base/user_directory.h"
#include "bench/make_model.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/failure.h"
#include "cli/plan_report.h"
#include "coordinator/planner/inventory_file.h"
#include "coordinator/planner/known_cards.h"
#include "coordinator/planner/model_parts.h"
#include "coordinator/planner/planner.h"
#include "coordinator/survey/model_parts.h"
#include "engine/open_model.h"
#include "worker/probe/device_probe.h"
#include "worker/probe/probe_cache.h"

namespace potluck::cli {
namespace {

using planner::Inventory;
using planner::ModelParts;
using planner::TensorOutline;

constexpr std::uint32_t kDefaultContext = 4096;

Result<ModelParts> parts_of_file(const std::string& path) {
    POTLUCK_ASSIGN(const engine::OpenModel model, engine::open_model(path));
    return coordinator::model_parts(*model.file, model.description.config);
}

Result<ModelParts> parts_of_shape(const std::string& shape, const std::string& type) {
    POTLUCK_ASSIGN(const bench::ModelOutline outline, bench::outline_model(shape, type));
    std::vector<TensorOutline> tensors;
    for (const auto& t : outline.tensors) {
        std::uint64_t rows = 1;
        for (std::size_t i = 1; i < t.dims.size(); ++i)
            rows *= t.dims[i];
        tensors.push_back({.name = t.name,
                           .type = t.type,
                           .elements = t.dims[0] * rows,
                           .bytes = row_bytes(t.type, t.dims[0]) * rows,
                           .matrix = t.dims.size() > 1});
    }
    return planner::make_model_parts({.name = shape + ":" + type,
                                      .n_layers = outline.layers,
                                      .width = outline.width,
                                      .ffn_width = outline.ffn_width,
                                      .heads = outline.heads,
                                      .kv_heads = outline.kv_heads,
                                      .head_dim = outline.head_dim,
                                      .vocabulary = outline.vocabulary,
                                      .context_length = outline.context},
                                     tensors);
}

/// A file if there is one of that name, else SHAPE:TYPE.
Result<ModelParts> read_model(const std::string& model) {
    std::error_code ignored;
    const std::size_t colon = model.find(':');
    if (colon == std::string::npos || std::filesystem::exists(model, ignored))
        return parts_of_file(model);
    return parts_of_shape(model.substr(0, colon), model.substr(colon + 1));
}

Result<Inventory> read_inventory(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return error(ErrorCode::kNotFound, path + ": cannot be read");
    std::string text(planner::kMaxInventoryBytes + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(in.gcount()));
    return planner::parse_inventory(text, path);
}

/// This machine's cores, by what they were measured to do.
Result<Inventory> measure_here(const DeviceOptions& options) {
    POTLUCK_ASSIGN(const auto cpu, cpu_options(options));
    POTLUCK_ASSIGN(const auto here, kernels::cpu::make_cpu_device(cpu));
    const worker::CachedProbeOptions cache{
        .directory = cache_directory(), .software_version = POTLUCK_VERSION, .on_measure = [] {
            std::cerr << "measuring this machine\n";
        }};
    POTLUCK_ASSIGN(const auto probe, worker::cached_probe(*here, cache, [&] {
                       return worker::probe_device(*here, probe_options(options));
                   }));
    planner::Device device;
    device.name = "here/" + here->name();
    device.memory_bytes = here->free_bytes();
    device.read_gbps = probe.read_gbps;
    device.floats = device.quantised = {probe.attention_gops};
    device.elementwise = {probe.elementwise_gops};
    for (const auto& type : probe.types) {
        device.by_type.push_back({type.type, {type.gops}});
        device.types.push_back(type.type);
    }
    device.layer_overhead_us = probe.layer_overhead_us;
    device.arithmetic_class = here->arithmetic_class();
    Inventory inventory;
    inventory.nodes.push_back({"here"});
    inventory.devices.push_back(std::move(device));
    inventory.links.resize(1);
    return inventory;
}

planner::PlanRequest request_of(const PlanCommandOptions& options, const ModelParts& model) {
    planner::PlanRequest request{.objective = options.objective};
    auto& work = request.work;
    const std::uint32_t made_for = model.sizes.context_length;
    work.context = options.context == 0 ? std::min(kDefaultContext, made_for) : options.context;
    work.slots = options.slots;
    work.chunk = options.prefill_chunk;
    work.depth = options.depth ? *options.depth : work.context / 2;
    work.prompt = options.prompt == 0 ? std::max(work.context / 2, 1U) : options.prompt;
    return request;
}

}  // namespace

int run_plan(const PlanCommandOptions& options) {
    const auto model = read_model(options.model);
    if (!model) return fail(model.error());
    const auto inventory =
        options.nodes.empty() ? measure_here(options.cpu) : read_inventory(options.nodes);
    if (!inventory) return fail(inventory.error());
    const auto request = request_of(options, *model);
    const auto planning = planner::make_plans(*model, *inventory, request);
    if (!planning) return fail(planning.error());
    const PlanReport report{*model, *inventory, request, *planning};
    std::cout << (options.json ? to_json(report) : to_table(report));
    return 0;
}

}  // namespace potluck::cli
