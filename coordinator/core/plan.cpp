#include "coordinator/core/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "base/byte_text.h"

namespace potluck::coordinator {
namespace {

constexpr std::uint32_t kPageTokens = 64;  ///< DESIGN: one attention block, see docs/arithmetic.md
/// Share of a device's free memory that weights and KV may take; the rest is for activations.
constexpr double kMemoryShare = 0.85;

/// Layers per device in proportion to memory, by largest remainder, at least one each while they
/// last.
std::vector<std::uint32_t> proportional_split(std::uint32_t layers,
                                              const std::vector<DeviceOffer>& devices) {
    double total = 0;
    for (const auto& d : devices)
        total += static_cast<double>(std::max<std::uint64_t>(d.free_bytes, 1));
    std::vector<std::uint32_t> split;
    double wanted = 0;
    std::uint32_t given = 0;
    for (std::size_t i = 0; i < devices.size(); ++i) {
        wanted +=
            layers * static_cast<double>(std::max<std::uint64_t>(devices[i].free_bytes, 1)) / total;
        const auto later = static_cast<std::uint32_t>(devices.size() - 1 - i);
        auto until = static_cast<std::uint32_t>(wanted + 0.5);
        if (layers >= devices.size()) until = std::clamp(until, given + 1, layers - later);
        until = i + 1 == devices.size() ? layers : std::clamp(until, given, layers);
        split.push_back(until - given);
        given = until;
    }
    return split;
}

Status check_split(const std::vector<std::uint32_t>& split, std::uint32_t layers,
                   std::size_t devices) {
    if (split.size() != devices) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("the split {} names {} devices, the cluster has {}",
                                 fmt::join(split, ","), split.size(), devices));
    }
    const auto sum = std::accumulate(split.begin(), split.end(), std::uint64_t{0});
    if (sum != layers) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("the split {} has {} layers, the model has {}",
                                 fmt::join(split, ","), sum, layers));
    }
    return {};
}

std::uint64_t part_bytes(const model::Footprint& footprint, const model::ShardSpec& part) {
    std::uint64_t bytes = 0;
    for (auto layer = part.begin; layer < part.end; ++layer)
        bytes += footprint.layer_bytes[layer];
    if (part.embedding) bytes += footprint.embedding_bytes;
    // A part with both ends holds a tied matrix once.
    if (part.head) bytes += footprint.head_bytes;
    if (part.head && part.embedding && footprint.tied) bytes -= footprint.embedding_bytes;
    return bytes;
}

/// KV pages that the tightest stage has room for, at most what slots and context can use.
Result<std::uint64_t> count_pages(const Plan& plan, const model::ModelConfig& config,
                                  std::uint64_t kv_tokens) {
    const std::uint64_t token_bytes = model::kv_bytes_per_token_layer(config, plan.kv);
    const std::uint64_t per_request = (plan.context + kPageTokens - 1) / kPageTokens;
    std::uint64_t pages = per_request * plan.slots;
    if (kv_tokens > 0) {
        if (kv_tokens < plan.context) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("a KV cache of {} tokens cannot hold one context of {}",
                                     kv_tokens, plan.context));
        }
        pages = std::min(pages, (kv_tokens + kPageTokens - 1) / kPageTokens);
    }
    for (const auto& stage : plan.stages) {
        const std::uint64_t layers = stage.part.end - stage.part.begin;
        const std::uint64_t page_bytes = token_bytes * kPageTokens * layers;
        const auto usable =
            static_cast<std::uint64_t>(static_cast<double>(stage.free_bytes) * kMemoryShare);
        const std::uint64_t left = usable > stage.weight_bytes ? usable - stage.weight_bytes : 0;
        if (page_bytes == 0) continue;
        if (left / page_bytes < per_request) {
            return error(
                ErrorCode::kResourceExhausted,
                fmt::format("{} has {} free: layers {}..{} need {} for weights and {} for one "
                            "context of {} tokens",
                            stage.device_name, byte_text(stage.free_bytes), stage.part.begin,
                            stage.part.end, byte_text(stage.weight_bytes),
                            byte_text(page_bytes * per_request), plan.context));
        }
        pages = std::min(pages, left / page_bytes);
    }
    return pages;
}

}  // namespace

Result<Plan> make_plan(const model::Footprint& footprint, const model::ModelConfig& config,
                       const std::vector<DeviceOffer>& devices, const PlanRequest& request) {
    if (devices.empty())
        return error(ErrorCode::kInvalidArgument, "there is no device to plan for");
    if (request.slots == 0 || request.max_batch_rows == 0) {
        return error(ErrorCode::kInvalidArgument, "slots and batch rows must be at least 1");
    }
    POTLUCK_TRY(model::check_context(config, request.context));
    POTLUCK_TRY(check_kv_types(request.kv, config.head_dim));
    const auto split =
        request.split.empty() ? proportional_split(config.n_layers, devices) : request.split;
    POTLUCK_TRY(check_split(split, config.n_layers, devices.size()));
    Plan plan;
    LayerIndex next = 0;
    for (std::size_t i = 0; i < devices.size(); ++i) {
        if (split[i] == 0) continue;
        StagePlacement stage{.node = devices[i].node,
                             .device = devices[i].device,
                             .device_name = devices[i].name,
                             .address = devices[i].address,
                             .arithmetic_class = devices[i].arithmetic_class};
        stage.part = {.begin = next, .end = next + split[i], .embedding = next == 0};
        next += split[i];
        stage.part.head = next == config.n_layers;
        stage.weight_bytes = part_bytes(footprint, stage.part);
        stage.free_bytes = devices[i].free_bytes;
        plan.stages.push_back(std::move(stage));
    }
    plan.context = request.context == 0 ? config.context_length : request.context;
    plan.slots = request.slots;
    plan.page_tokens = kPageTokens;
    plan.kv = request.kv;
    plan.max_batch_rows = request.max_batch_rows;
    plan.max_in_flight = static_cast<std::uint32_t>(most_in_flight(plan.stages.size()));
    POTLUCK_ASSIGN(plan.kv_pages, count_pages(plan, config, request.kv_tokens));
    return plan;
}

namespace {

/// The stage with this layer.
const StagePlacement& stage_of(const Plan& plan, LayerIndex layer) {
    return *std::find_if(plan.stages.begin(), plan.stages.end(),
                         [&](const StagePlacement& s) { return layer < s.part.end; });
}

}  // namespace

LayerIndex kept_from(const Plan& before, const Plan& plan, const std::set<NodeId>& held) {
    const LayerIndex layers = plan.stages.back().part.end;
    const bool same_memory = before.stages.back().part.end == layers &&
                             before.kv_pages == plan.kv_pages &&
                             before.page_tokens == plan.page_tokens &&
                             before.context == plan.context && before.kv == plan.kv;
    if (!same_memory) return layers;
    for (LayerIndex layer = 0; layer < layers; ++layer) {
        if (stage_of(before, layer).arithmetic_class != stage_of(plan, layer).arithmetic_class)
            return layers;
    }
    LayerIndex from = layers;
    for (auto stage = plan.stages.rbegin(); stage != plan.stages.rend(); ++stage) {
        const StagePlacement& had = stage_of(before, stage->part.end - 1);
        if (had.node != stage->node || had.device != stage->device || !held.contains(had.node))
            return from;
        from = std::max(stage->part.begin, had.part.begin);
        if (from > stage->part.begin) return from;
    }
    return from;
}

KeptPages kept_pages(const Plan& plan) {
    if (plan.kept_epoch.value == 0) return KeptPages::kNone;
    return plan.kept_from == 0 ? KeptPages::kAll : KeptPages::kLater;
}

std::string to_string(const Plan& plan) {
    std::string text = fmt::format("plan {}: {} stage{}\n", plan.epoch.value, plan.stages.size(),
                                   plan.stages.size() == 1 ? "" : "s");
    for (std::size_t i = 0; i < plan.stages.size(); ++i) {
        const auto& s = plan.stages[i];
        text += fmt::format("  stage {}  layers {:>3}..{:<3} {}{}{} on {} ({} free)\n", i,
                            s.part.begin, s.part.end - 1, s.part.embedding ? "+embedding " : "",
                            s.part.head ? "+head " : "", byte_text(s.weight_bytes), s.device_name,
                            byte_text(s.free_bytes));
    }
    text += fmt::format(
        "  context {} tokens per request, {} slots, KV pool {} tokens ({} pages of {}, {})\n",
        plan.context, plan.slots, plan.kv_pages * plan.page_tokens, plan.kv_pages, plan.page_tokens,
        to_string(plan.kv));
    return text;
}

std::string fingerprint(const Plan& plan) {
    std::set<std::string> classes;
    for (const auto& s : plan.stages)
        classes.insert(s.arithmetic_class);
    return fmt::format("potluck-{}", fmt::join(classes, "+"));
}

}  // namespace potluck::coordinator
