#pragma once

// Who holds which part of a model. A plan is a value: it is printed, can be given by hand, and is
// remembered by its epoch.

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/kv_type.h"
#include "base/result.h"
#include "model/graph/architecture.h"

namespace potluck::coordinator {

/// A device that could hold a stage.
struct DeviceOffer {
    NodeId node;
    std::uint32_t device = 0;  ///< of the node
    std::string name;          ///< for people: "desk/0 cpu (2 threads, avx2)"
    std::string address;       ///< of the node
    std::uint64_t free_bytes = 0;
    std::string arithmetic_class;
};

struct StagePlacement {
    NodeId node;
    std::uint32_t device = 0;
    std::string device_name;
    std::string address;
    std::string arithmetic_class;
    model::ShardSpec part;
    std::uint64_t weight_bytes = 0;  ///< of the part, as in the file
    std::uint64_t free_bytes = 0;
};

/// One pipeline over all stages in order.
struct Plan {
    Epoch epoch;
    std::vector<StagePlacement> stages;
    std::uint32_t context = 0;   ///< positions per request
    std::uint32_t slots = 0;     ///< sequences at once
    std::uint64_t kv_pages = 0;  ///< of the KV pool, the same on every stage
    std::uint32_t page_tokens = 0;
    KvTypes kv;  ///< how keys and values are stored, the same on every stage
    std::uint32_t max_batch_rows = 0;
    std::uint32_t max_in_flight = 0;
    /// The epoch before it whose sequences keep their pages in layers from `kept_from` on; 0: none.
    Epoch kept_epoch;
    LayerIndex kept_from = 0;
};

/// Batches in flight for which a pipeline's buffers are made: the stages' slots and the queues
/// between them. How many there are at a time the scheduler finds from what steps and links take;
/// this is where that ends, where links take three times as long as a step. A slot takes memory
/// only once it is used.
constexpr std::size_t most_in_flight(std::size_t stages) {
    return 4 * stages + 4;
}

struct PlanRequest {
    std::uint32_t context = 0;  ///< 0: what the model was made for
    std::uint32_t slots = 8;
    std::uint64_t kv_tokens = 0;  ///< that the KV cache holds, of all sequences; 0: context times
                                  ///< slots, or what memory has
    KvTypes kv;
    std::uint32_t max_batch_rows = 512;
    std::vector<std::uint32_t> split;  ///< layers per device, in order; empty: by memory
};

/// Splits the layers over the devices in proportion to their free memory, or as `split` says; the
/// first stage has the embedding, the last one the head. Devices that would hold no layer are left
/// out. Errors (kInvalidArgument, kResourceExhausted) say which number does not fit.
Result<Plan> make_plan(const model::Footprint& footprint, const model::ModelConfig& config,
                       const std::vector<DeviceOffer>& devices, const PlanRequest& request);

/// From which layer on `plan` finds the keys and values that `before` had there; the number of
/// layers if it finds none. They are those that `plan` would compute itself, because a layer's keys
/// and values are a function of the tokens and of the arithmetic of the layers up to it: no class
/// may differ. `held` says of a node whether it has run `before` to its end. Layers before a lost
/// one are of no use: its rows need what they bring.
LayerIndex kept_from(const Plan& before, const Plan& plan, const std::set<NodeId>& held);

/// What a pipeline has of the sequences of the one before (docs/loss.md).
enum class KeptPages : std::uint8_t {
    kNone,
    kLater,  ///< the stages from some layer on; rows are fed again, for the layers before it
    kAll,    ///< every stage: nothing is fed again
};

/// Once it is prepared.
KeptPages kept_pages(const Plan& plan);

/// The plan as a table for people.
std::string to_string(const Plan& plan);
/// "potluck-cpu-1" or "potluck-cpu-1+cuda-sm86-1": the arithmetic classes along the pipeline.
std::string fingerprint(const Plan& plan);

}  // namespace potluck::coordinator
