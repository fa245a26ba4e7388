#pragma once

// A graph bound to one device: every call with its addresses, in order. Only the number of rows is
// filled in when a batch runs.

#include <cstddef>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "base/result.h"
#include "engine/buffer_plan.h"
#include "kernels/api/ops.h"
#include "model/gguf/gguf.h"
#include "model/graph/architecture.h"

namespace potluck::engine {

using Step = std::variant<kernels::EmbedArgs, kernels::RmsNormArgs, kernels::QuantizeArgs,
                          kernels::MatmulGroupArgs, kernels::RopeArgs, kernels::KvStoreArgs,
                          kernels::AttentionArgs, kernels::SwigluArgs, kernels::AddArgs,
                          kernels::RmsNormQuantizeArgs, kernels::SwigluQuantizeArgs>;

/// A call and how much of its size comes with each row: groups for norms, values for sums.
struct SizedStep {
    Step step;
    std::size_t per_row = 1;
};

/// A weight on the device: matrix or vector, exactly one of the two is set.
struct Weight {
    std::shared_ptr<const model::gguf::Gguf> file;  ///< if the device's weights refer to it
    std::unique_ptr<kernels::PackedWeight> matrix;
    std::unique_ptr<kernels::Buffer> vector;  ///< f32
};

/// What steps read that changes with every batch; device memory sized for max_rows.
struct BatchMemory {
    std::unique_ptr<kernels::Buffer> tokens, positions, slots, row_tables, page_tables, copies,
        sampled;
    std::unique_ptr<kernels::Buffer> inv_freq, angles;
    std::unique_ptr<kernels::Buffer> activations;  ///< int8 rows, shared by all products
    std::unique_ptr<kernels::Buffer> attention_scratch;
    std::size_t table_stride = 0;
};

struct BindContext {
    const model::Graph& graph;
    const model::ModelConfig& config;
    const BufferPlan& plan;
    const std::vector<std::unique_ptr<kernels::Buffer>>& slots;  ///< of the plan
    const std::vector<std::shared_ptr<const Weight>>& weights;   ///< indexed as Graph::weights
    const std::vector<kernels::KvCache>& caches;  ///< by layer, from the shard's first
    const BatchMemory& memory;
};

std::vector<SizedStep> bind_steps(const BindContext& context,
                                  const std::vector<model::Node>& nodes);

/// How many of a body's first steps store the keys and values of its first `layers` layers.
std::size_t steps_to_store(std::span<const SizedStep> steps, std::size_t layers);

/// Enqueues one step for `n_rows` rows.
Status run_step(kernels::Stream& stream, const kernels::OpTable& ops, const SizedStep& step,
                std::size_t n_rows);

/// Enqueues the steps for `n_rows` rows. Before each of them `is_given_up` is asked; once it says
/// yes the rest is left out.
template <typename GivenUp>
Status run_steps(kernels::Stream& stream, const kernels::OpTable& ops,
                 std::span<const SizedStep> steps, std::size_t n_rows, GivenUp&& is_given_up) {
    for (const auto& step : steps) {
        if (is_given_up()) return {};
        POTLUCK_TRY(run_step(stream, ops, step, n_rows));
    }
    return {};
}

}  // namespace potluck::engine
