// `potluck plan`: where a model would run best, on this machine or on machines that are described
// in a file and need not exist yet.

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "bench/make_model.h"
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/plan_report.h"
#include "coordinator/planner/inventory_file.h"
#include "coordinator/planner/known_cards.h"
#include "coordinator/planner/model_parts.h"
#include "coordinator/planner/planner.h"
#include "engine/open_model.h"
#include "kernels/cpu/limits.h"

namespace potluck::cli {
namespace {

using planner::Inventory;
using planner::ModelParts;
using planner::TensorOutline;

constexpr std::uint32_t kDefaultContext = 4096;

// What this engine attains of the limits that are measured here; docs/planning.md has the figures
// that they come from.
constexpr double kReadShare = 0.60;
constexpr double kFewRowsShare = 0.22;
constexpr double kManyRowsShare = 0.36;
constexpr double kFloatShare = 0.12;
constexpr double kLayerOverheadUs = 40;

Result<ModelParts> parts_of_file(const std::string& path) {
    POTLUCK_ASSIGN(const engine::OpenModel model, engine::open_model(path));
    const auto& config = model.description.config;
    std::vector<TensorOutline> tensors;
    for (const auto& t : model.file->tensors()) {
        tensors.push_back({.name = std::string(t.name),
                           .type = t.type,
                           .elements = t.dims[0] * t.rows(),
                           .bytes = t.bytes,
                           .matrix = t.n_dims > 1});
    }
    return planner::make_model_parts({.name = std::filesystem::path(path).filename().string(),
                                      .n_layers = config.n_layers,
                                      .width = config.width,
                                      .ffn_width = config.ffn_width,
                                      .heads = config.heads,
                                      .kv_heads = config.kv_heads,
                                      .head_dim = config.head_dim,
                                      .vocabulary = config.vocabulary,
                                      .context_length = config.context_length},
                                     tensors);
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

/// This machine's cores, by what they and its memory are measured to do at best.
Result<Inventory> measure_here(const DeviceOptions& options) {
    std::cerr << "measuring this machine\n";
    POTLUCK_ASSIGN(const auto cpu, cpu_options(options));
    POTLUCK_ASSIGN(const auto here, kernels::cpu::make_cpu_device(cpu));
    POTLUCK_ASSIGN(
        const auto limits,
        kernels::cpu::measure_limits({.cpu = cpu, .bytes = std::size_t{256} << 20, .passes = 5}));
    const double peak = limits.int8_gops;
    planner::Device device;
    device.name = fmt::format("here/cpu ({} threads, {})", limits.threads,
                              kernels::cpu::to_string(limits.isa));
    device.memory_bytes = here->free_bytes();
    device.read_gbps = kReadShare * std::max(limits.read_small_gbps, limits.read_huge_gbps);
    device.quantised = {{kFewRowsShare * peak, kFewRowsShare * peak, kManyRowsShare * peak}};
    device.floats = {{kFloatShare * peak, kFloatShare * peak, kFloatShare * peak}};
    device.layer_overhead_us = kLayerOverheadUs;
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
