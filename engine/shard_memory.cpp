#include "engine/shard_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>

#include "base/portable_math.h"

namespace potluck::engine {
namespace {

std::vector<kernels::Requirement> requirements(const model::gguf::Gguf& file,
                                               const model::Graph& graph,
                                               const model::ModelConfig& config,
                                               const KvTypes& kv) {
    std::vector<kernels::Requirement> all;
    using kernels::OpKind;
    const auto add_nodes = [&](const std::vector<model::Node>& nodes) {
        for (const auto& node : nodes) {
            if (node.kind == model::NodeKind::kMatmul || node.kind == model::NodeKind::kEmbed) {
                const auto& spec = graph.weights[node.weight];
                all.push_back(
                    {.op = node.kind == model::NodeKind::kEmbed ? OpKind::kEmbed : OpKind::kMatmul,
                     .type = file.find_tensor(spec.name)->type,
                     .columns = spec.columns});
            }
        }
    };
    add_nodes(graph.body);
    add_nodes(graph.head);
    for (const auto op : {OpKind::kRmsNorm, OpKind::kRopeAngles, OpKind::kRope, OpKind::kSwiglu,
                          OpKind::kAdd, OpKind::kGatherRows, OpKind::kQuantize}) {
        all.push_back({.op = op, .head_dim = config.head_dim});
    }
    for (const auto op : {OpKind::kKvStore, OpKind::kKvCopy, OpKind::kAttention}) {
        for (const KvType type : {kv.k, kv.v})
            all.push_back({.op = op, .head_dim = config.head_dim, .kv = type});
    }
    return all;
}

/// A norm or bias as f32, whatever float type the file stores it in.
std::vector<float> read_vector(const model::gguf::TensorInfo& tensor) {
    std::vector<float> values(tensor.dims[0]);
    const std::byte* from = tensor.data.data();
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (tensor.type == TensorType::kF32) {
            std::memcpy(&values[i], from + i * 4, 4);
            continue;
        }
        std::uint16_t half = 0;
        std::memcpy(&half, from + i * 2, 2);
        values[i] = tensor.type == TensorType::kF16 ? half_to_float(half) : bfloat16_to_float(half);
    }
    return values;
}

}  // namespace

Status check_device(const kernels::Device& device, const model::gguf::Gguf& file,
                    const model::Graph& graph, const model::ModelConfig& config,
                    const KvTypes& kv) {
    std::set<std::string> problems;
    for (const auto& requirement : requirements(file, graph, config, kv)) {
        if (const auto why = device.unsupported(requirement)) problems.insert(*why);
    }
    if (problems.empty()) return {};
    return error(ErrorCode::kUnsupported, fmt::format("device {} cannot run this model: {}",
                                                      device.name(), fmt::join(problems, "; ")));
}

namespace {

Result<std::shared_ptr<const Weight>> load_weight(
    kernels::Device& device, const std::shared_ptr<const model::gguf::Gguf>& file,
    const model::WeightSpec& spec) {
    const auto& tensor = *file->find_tensor(spec.name);
    const bool kept = device.keeps_bytes();
    if (!kept) file->will_read(tensor);
    auto weight = std::make_shared<Weight>();
    if (kept) weight->file = file;
    if (spec.use == model::WeightUse::kVector) {
        POTLUCK_ASSIGN(weight->vector, upload_values(device, read_vector(tensor)));
    } else {
        auto packed = device.pack(tensor.data, tensor.type, spec.columns, {0, tensor.rows()});
        if (!packed)
            return with_context(std::move(packed.error()), fmt::format("tensor '{}'", spec.name));
        weight->matrix = std::move(*packed);
    }
    if (!kept) file->forget(tensor);
    return weight;
}

}  // namespace

Result<std::vector<std::shared_ptr<const Weight>>> load_weights(
    kernels::Device& device, const std::shared_ptr<const model::gguf::Gguf>& file,
    const std::string& source, const model::Graph& graph, WeightPool& pool,
    const LoadProgress& progress, const std::function<bool()>& cancelled) {
    const auto bytes_of = [&](std::size_t i) {
        return file->find_tensor(graph.weights[i].name)->bytes;
    };
    std::set<std::string> wanted;
    for (const auto& spec : graph.weights)
        wanted.insert(std::string(spec.name));
    pool.keep_only(source, wanted);
    std::vector<std::shared_ptr<const Weight>> weights(graph.weights.size());
    std::vector<std::size_t> missing;
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        weights[i] = pool.find(source, std::string(graph.weights[i].name));
        if (weights[i]) {
            pool.counters.kept += bytes_of(i);
        } else {
            missing.push_back(i);
            total += bytes_of(i);
        }
    }
    // The largest first: a tensor is there twice while it is packed, and at the end, when memory is
    // fullest, that should be a small one.
    std::sort(missing.begin(), missing.end(), [&](std::size_t a, std::size_t b) {
        return bytes_of(a) != bytes_of(b) ? bytes_of(a) > bytes_of(b) : a < b;
    });
    std::uint64_t done = 0;
    for (const std::size_t i : missing) {
        if (cancelled && cancelled())
            return error(ErrorCode::kCancelled, "the stage is not wanted any more");
        POTLUCK_ASSIGN(weights[i], load_weight(device, file, graph.weights[i]));
        pool.put(source, std::string(graph.weights[i].name), weights[i]);
        pool.counters.read += bytes_of(i);
        done += bytes_of(i);
        if (progress) progress(done, total);
    }
    return weights;
}

Result<std::vector<LayerCache>> allocate_caches(kernels::Device& device,
                                                const model::ModelConfig& config,
                                                const ShardOptions& options,
                                                std::vector<LayerCache> kept) {
    const std::size_t rows = options.kv_pages * kernels::kPageTokens * config.kv_heads;
    std::vector<LayerCache> caches;
    const auto allocated = static_cast<LayerIndex>(options.part.end - kept.size());
    for (auto layer = options.part.begin; layer < allocated; ++layer) {
        LayerCache cache;
        POTLUCK_ASSIGN(cache.k,
                       device.allocate(rows * kv_row_bytes(options.kv.k, config.head_dim)));
        POTLUCK_ASSIGN(cache.v,
                       device.allocate(rows * kv_row_bytes(options.kv.v, config.head_dim)));
        caches.push_back(std::move(cache));
    }
    std::move(kept.begin(), kept.end(), std::back_inserter(caches));
    return caches;
}

Result<BatchMemory> allocate_batch_memory(kernels::Device& device, const model::Graph& graph,
                                          const model::ModelConfig& config,
                                          const ShardOptions& options) {
    const std::size_t rows = options.max_rows;
    constexpr std::size_t kInt = sizeof(std::int32_t);
    BatchMemory m;
    m.table_stride = (options.max_length + kernels::kPageTokens - 1) / kernels::kPageTokens;
    POTLUCK_ASSIGN(m.tokens, device.allocate(rows * kInt));
    POTLUCK_ASSIGN(m.positions, device.allocate(rows * kInt));
    POTLUCK_ASSIGN(m.slots, device.allocate(rows * kInt));
    POTLUCK_ASSIGN(m.row_tables, device.allocate(rows * kInt));
    POTLUCK_ASSIGN(m.page_tables, device.allocate(rows * m.table_stride * kInt));
    POTLUCK_ASSIGN(m.copies, device.allocate(rows * 2 * kInt));
    POTLUCK_ASSIGN(m.sampled, device.allocate(rows * kInt));
    POTLUCK_ASSIGN(m.inv_freq, upload_values(device, config.rotary.inv_freq));
    POTLUCK_ASSIGN(m.angles,
                   device.allocate(rows * config.rotary.inv_freq.size() * 2 * sizeof(float)));

    // The int8 form exists only for widths of whole blocks; other widths feed float weights only.
    std::size_t activations = 0;
    for (const std::uint32_t width : graph.widths) {
        if (width % 32 != 0) continue;
        activations = std::max(
            activations, device.activation_bytes(kernels::ActivationForm::kInt8x32, rows, width));
    }
    POTLUCK_ASSIGN(m.activations, device.allocate(activations));
    POTLUCK_ASSIGN(
        m.attention_scratch,
        device.allocate(device.attention_scratch_bytes({.max_rows = rows,
                                                        .max_context = options.max_length,
                                                        .heads = config.heads,
                                                        .head_dim = config.head_dim,
                                                        .k_type = options.kv.k})));
    return m;
}

}  // namespace potluck::engine
