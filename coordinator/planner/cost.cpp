#include "coordinator/planner/cost.h"

#include <algorithm>

#include "base/elementwise.h"

namespace potluck::planner {
namespace {

/// Left free on every device: a part of its memory, and at least so much.
constexpr double kHeadroomShare = 0.06;
constexpr std::uint64_t kLeastHeadroom = 256ULL << 20;
/// A coordinator's message of token ids, and a result: so small that only the round trip counts.
constexpr double kSmallMessageBytes = 512;

double part_s(const Part& part, const Device& device, double rows) {
    double seconds = 0;
    for (const auto& group : part.groups) {
        const double read = static_cast<double>(group.bytes) / (device.read_gbps * 1e9);
        const double products = 2 * static_cast<double>(group.elements) * rows /
                                (device.rates(group.type).at(rows) * 1e9);
        seconds += std::max(read, products);
    }
    return seconds;
}

double attention_s(const ModelParts& model, const Device& device, const Step& step) {
    const double read = step.keys_read * static_cast<double>(model.kv_bytes_per_token_layer) /
                        (device.read_gbps * 1e9);
    // Two products of a head's size for each key, two operations each.
    const double per_key = 4.0 * model.sizes.heads * model.sizes.head_dim;
    const double products = step.key_products * per_key / (device.floats.at(step.rows) * 1e9);
    return std::max(read, products);
}

/// What goes through a device value by value.
double elementwise_s(const Device& device, double values_of_row, double rows) {
    const double rate = device.elementwise.at(rows);
    return rate > 0 ? values_of_row * rows / (rate * 1e9) : 0;
}

double layer_values(const ModelSizes& s) {
    return static_cast<double>(elementwise_values(s.width, s.ffn_width,
                                                  std::size_t{s.heads} * s.head_dim,
                                                  std::size_t{s.kv_heads} * s.head_dim));
}

/// A norm, and every logit looked at once.
double head_values(const ModelSizes& s) {
    return 1.0 * s.width + s.vocabulary;
}

std::uint64_t headroom(const Device& device) {
    const auto share =
        static_cast<std::uint64_t>(kHeadroomShare * static_cast<double>(device.memory_bytes));
    return std::max(share, kLeastHeadroom);
}

/// Residual, normed and projected activations of the largest step, f32.
std::uint64_t body_buffers(const ModelParts& model, const Workload& work) {
    const auto& s = model.sizes;
    const std::uint64_t floats =
        6ULL * s.width + 3ULL * s.ffn_width + (2ULL * s.heads + 2ULL * s.kv_heads) * s.head_dim;
    return std::max(work.chunk, work.slots) * floats * sizeof(float);
}

std::uint64_t head_buffers(const ModelParts& model, const Workload& work) {
    return std::uint64_t{work.slots} * model.sizes.vocabulary * sizeof(float);
}

}  // namespace

MemoryUse memory_use(const ModelParts& model, const Workload& work, const Device& device,
                     std::uint32_t begin, std::uint32_t end) {
    MemoryUse use;
    for (auto layer = begin; layer < end; ++layer)
        use.weights += model.layers[layer].bytes();
    const bool first = begin == 0;
    const bool last = end == model.sizes.n_layers;
    if (last) use.weights += model.head.bytes();
    if (first && !(last && model.tied)) use.weights += model.embedding.bytes();
    use.kv =
        std::uint64_t{end - begin} * model.kv_bytes_per_token_layer * work.context * work.slots;
    use.buffers = body_buffers(model, work) + (last ? head_buffers(model, work) : 0);
    use.headroom = headroom(device);
    return use;
}

Step decode_step(const Workload& work, double rows) {
    return {.rows = rows,
            .keys_read = rows * work.depth,
            .key_products = rows * work.depth,
            .sampled = rows};
}

Step prefill_step(const Workload& work) {
    const double rows = std::min(work.chunk, work.prompt);
    return {.rows = rows,
            .keys_read = work.prompt / 2.0,
            .key_products = rows * work.prompt / 2.0,
            .sampled = 1,
            .head_each_step = false};
}

CostTable::CostTable(const ModelParts& model, const Inventory& inventory, const Workload& work,
                     const Step& step)
    : inventory_(inventory),
      layers_(model.sizes.n_layers),
      head_each_step_(step.head_each_step),
      row_bytes_(step.rows * model.sizes.width * sizeof(float)),
      weight_sums_{0},
      kv_layer_(model.kv_bytes_per_token_layer * work.context * work.slots),
      embedding_(model.embedding.bytes()),
      head_(model.head.bytes()),
      both_(model.tied ? head_ : head_ + embedding_) {
    for (const auto& layer : model.layers)
        weight_sums_.push_back(weight_sums_.back() + layer.bytes());
    const auto types = model.matrix_types();
    for (const auto& device : inventory.devices) {
        layer_sums_.push_back(0);
        const double fixed = device.layer_overhead_us * 1e-6 + attention_s(model, device, step) +
                             elementwise_s(device, layer_values(model.sizes), step.rows);
        for (const auto& layer : model.layers)
            layer_sums_.push_back(layer_sums_.back() + part_s(layer, device, step.rows) + fixed);
        head_s_.push_back(part_s(model.head, device, step.sampled) +
                          elementwise_s(device, head_values(model.sizes), step.sampled));
        usable_.push_back(std::all_of(types.begin(), types.end(),
                                      [&](TensorType t) { return device.supports(t); }));
        const std::uint64_t keep = headroom(device);
        budgets_.push_back({.usable = device.memory_bytes - std::min(keep, device.memory_bytes),
                            .body_buffers = body_buffers(model, work),
                            .head_buffers = head_buffers(model, work)});
    }
}

bool CostTable::fits(std::size_t device, std::uint32_t begin, std::uint32_t end) const {
    if (!usable_[device]) return false;
    const bool first = begin == 0;
    const bool last = end == layers_;
    std::uint64_t bytes = weight_sums_[end] - weight_sums_[begin] + (end - begin) * kv_layer_;
    bytes += first && last ? both_ : last ? head_ : first ? embedding_ : 0;
    const Budget& budget = budgets_[device];
    bytes += budget.body_buffers + (last ? budget.head_buffers : 0);
    return bytes <= budget.usable;
}

double CostTable::hop_busy_s(std::size_t from, std::size_t to) const {
    return row_bytes_ * 8 / (link(from, to).gbits * 1e9);
}

double CostTable::hop_s(std::size_t from, std::size_t to) const {
    return link(from, to).rtt_ms / 2e3 + hop_busy_s(from, to);
}

double CostTable::first_hop_s(std::size_t device) const {
    const Link& way = inventory_.link(inventory_.coordinator, inventory_.devices[device].node);
    return way.rtt_ms / 2e3 + kSmallMessageBytes * 8 / (way.gbits * 1e9);
}

double CostTable::last_hop_s(std::size_t device) const {
    return first_hop_s(device);
}

}  // namespace potluck::planner
