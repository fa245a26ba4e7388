#pragma once

// Loading half of a shard: what a device must be able to do, weights, caches and batch memory.

#include <memory>
#include <vector>

#include "base/result.h"
#include "engine/page_keeper.h"
#include "engine/shard.h"
#include "engine/steps.h"
#include "engine/weight_pool.h"

namespace potluck::engine {

/// kUnsupported listing everything that the device cannot do for this graph.
Status check_device(const kernels::Device& device, const model::gguf::Gguf& file,
                    const model::Graph& graph, const model::ModelConfig& config, const KvTypes& kv);

/// Every weight of the graph, indexed as Graph::weights: from the pool, or packed and put there.
/// `source`: WeightPool::source_of the file.
/// What the pool has besides and nobody uses is dropped first. kCancelled if `cancelled` says so
/// between two tensors; what was packed by then stays in the pool.
Result<std::vector<std::shared_ptr<const Weight>>> load_weights(
    kernels::Device& device, const std::shared_ptr<const model::gguf::Gguf>& file,
    const std::string& source, const model::Graph& graph, WeightPool& pool,
    const LoadProgress& progress, const std::function<bool()>& cancelled);

/// For the shard's layers, of which `kept` are the last ones.
Result<std::vector<LayerCache>> allocate_caches(kernels::Device& device,
                                                const model::ModelConfig& config,
                                                const ShardOptions& options,
                                                std::vector<LayerCache> kept);

Result<BatchMemory> allocate_batch_memory(kernels::Device& device, const model::Graph& graph,
                                          const model::ModelConfig& config,
                                          const ShardOptions& options);

/// A device buffer with these values in it.
template <typename T>
Result<std::unique_ptr<kernels::Buffer>> upload_values(kernels::Device& device,
                                                       const std::vector<T>& values) {
    POTLUCK_ASSIGN(auto buffer, device.allocate(values.size() * sizeof(T)));
    const auto stream = device.create_stream();
    POTLUCK_TRY(stream->upload(buffer->data(), std::as_bytes(std::span(values))));
    POTLUCK_TRY(stream->synchronize());
    return buffer;
}

}  // namespace potluck::engine
