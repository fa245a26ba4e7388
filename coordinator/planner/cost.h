#pragma once

// What a stage costs on a device: its time for a step, its memory. Tables are made once, so that
// the search asks for ranges of layers in constant time.
//
// The model of time, all of it: a step of r rows through layers [b, e) takes the sum over layers
// and weight types of max(bytes / read speed, operations of r rows / matmul rate at r rows), plus
// the keys and values that its attention reads, plus what goes through a layer value by value, plus
// a fixed overhead per layer. A hop takes half a round trip and the activations' bytes at the
// link's speed.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/planner/inventory.h"
#include "coordinator/planner/model_parts.h"

namespace potluck::planner {

struct Workload {
    std::uint32_t context = 4096;  ///< positions that each slot can hold
    std::uint32_t slots = 4;       ///< sequences at once
    std::uint32_t depth = 2048;    ///< tokens behind which decoding is predicted
    std::uint32_t prompt = 2048;   ///< tokens of the prompt that prefill is predicted for
    std::uint32_t chunk = 256;     ///< rows of a prompt in one step
};

/// Bytes on one device.
struct MemoryUse {
    std::uint64_t weights = 0;
    std::uint64_t kv = 0;        ///< context × slots
    std::uint64_t buffers = 0;   ///< activations of the largest step, logits
    std::uint64_t headroom = 0;  ///< left free on purpose: drivers, other programs, fragmentation
    std::uint64_t total() const { return weights + kv + buffers + headroom; }
};
MemoryUse memory_use(const ModelParts& model, const Workload& work, const Device& device,
                     std::uint32_t begin, std::uint32_t end);

/// A step that the search minimises: decoding rows of different sequences, or a chunk of one
/// prompt.
struct Step {
    double rows = 1;
    double keys_read = 0;        ///< positions whose keys and values are read, over all rows
    double key_products = 0;     ///< (row, key) pairs that attention multiplies
    double sampled = 1;          ///< rows that the head computes
    bool head_each_step = true;  ///< false: only the last step of a prompt has the head
};
Step decode_step(const Workload& work, double rows);
Step prefill_step(const Workload& work);

/// Seconds of a step, for every device and range of layers, and what fits where.
class CostTable {
  public:
    CostTable(const ModelParts& model, const Inventory& inventory, const Workload& work,
              const Step& step);

    std::uint32_t layers() const { return layers_; }
    std::size_t devices() const { return inventory_.devices.size(); }
    /// With the head if `end` is the last layer.
    double stage_s(std::size_t device, std::uint32_t begin, std::uint32_t end) const {
        return body_s(device, begin, end) + (end == layers_ ? head_s_[device] : 0);
    }
    /// The part of it that every step of a long prompt has.
    double steady_s(std::size_t device, std::uint32_t begin, std::uint32_t end) const {
        return body_s(device, begin, end) +
               (end == layers_ && head_each_step_ ? head_s_[device] : 0);
    }
    double head_s(std::size_t device) const { return head_s_[device]; }
    double layer_s(std::size_t device, std::uint32_t layer) const {
        return body_s(device, layer, layer + 1);
    }
    bool fits(std::size_t device, std::uint32_t begin, std::uint32_t end) const;
    bool usable(std::size_t device) const { return usable_[device]; }

    double hop_s(std::size_t from, std::size_t to) const;       ///< until the rows have arrived
    double hop_busy_s(std::size_t from, std::size_t to) const;  ///< that the link is taken
    double first_hop_s(std::size_t device) const;               ///< coordinator to device
    double last_hop_s(std::size_t device) const;                ///< results back

  private:
    double body_s(std::size_t device, std::uint32_t begin, std::uint32_t end) const {
        const double* sums = &layer_sums_[device * (layers_ + 1)];
        return sums[end] - sums[begin];
    }
    const Link& link(std::size_t from, std::size_t to) const {
        return inventory_.link(inventory_.devices[from].node, inventory_.devices[to].node);
    }

    const Inventory& inventory_;
    std::uint32_t layers_;
    bool head_each_step_;
    double row_bytes_;  ///< of the activations of a step
    std::vector<double> layer_sums_;
    std::vector<double> head_s_;
    std::vector<bool> usable_;
    std::vector<std::uint64_t> weight_sums_;
    struct Budget {
        std::uint64_t usable = 0, body_buffers = 0, head_buffers = 0;
    };
    std::vector<Budget> budgets_;
    std::uint64_t kv_layer_, embedding_, head_, both_;
};

}  // namespace potluck::planner
