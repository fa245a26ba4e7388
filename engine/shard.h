#pragma once

// One shard of a model on one device: the weights of a layer range, their KV pages, and the
// resolved list of device calls that a batch walks through.
//
// Over a change of plan a shard may begin with the keys and values of an earlier one of its device
// (page_keeper.h). Rows at kept positions are computed only as far as keys and values are missing:
// up to those of the layer before kept_from(), or not at all; what leaves of them is not defined.
//
// Thread: made and used on the executor thread of its device, which must outlive it. run()
// allocates nothing except where a batch opens a sequence.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/kv_type.h"
#include "base/result.h"
#include "engine/page_table.h"
#include "engine/stage_drafter.h"
#include "engine/stage_model.h"
#include "kernels/api/device.h"
#include "model/gguf/gguf.h"
#include "model/graph/architecture.h"

namespace potluck::engine {

class PageKeeper;
class WeightPool;
struct KeepRequest;

struct ShardOptions {
    model::ShardSpec part;
    std::size_t max_rows = 512;       ///< of one batch
    std::size_t max_length = 4096;    ///< positions of one sequence
    std::size_t kv_pages = 64;        ///< of kPageTokens positions each, over all sequences
    KvTypes kv;                       ///< how keys and values are stored
    std::function<bool()> cancelled;  ///< asked while loading: whether to stop; may be empty
    std::shared_ptr<const StageDrafter> drafter;  ///< asked at every sampled row; null: none
    Epoch epoch;                                  ///< of its plan
    /// Where the shard leaves its keys and values when it ends, unless a batch failed; null: they
    /// end with it. Must outlive the shard.
    PageKeeper* keeper = nullptr;
    /// What it begins with, from the keeper; null: nothing.
    std::shared_ptr<const KeepRequest> keep;
};

/// Called with the bytes of the file that were read and their total, after each tensor.
using LoadProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;

/// Sees the logits of a sampled row before the sampler changes them.
using LogitsObserver = std::function<void(const Row& row, std::span<const float> logits)>;

class Shard final : public StageModel {
  public:
    /// Checks all tensors and the device's abilities (every problem is listed at once), then packs
    /// what `pool` (null: none) does not have. Keeps `file` if the device's weights refer to it.
    static Result<std::unique_ptr<Shard>> load(std::shared_ptr<const model::gguf::Gguf> file,
                                               const model::ModelDescription& model,
                                               kernels::Device& device, const ShardOptions& options,
                                               const LoadProgress& progress = {},
                                               WeightPool* pool = nullptr);
    ~Shard() override;

    std::size_t input_width() const override;
    std::size_t output_width() const override;
    std::size_t max_rows() const override;
    std::size_t room() const override;
    bool keeps() const override;
    std::size_t skipped_rows() const override;
    /// The first layer whose keys and values are those that were asked for with ShardOptions::keep;
    /// one past its last layer: none is.
    LayerIndex kept_from() const;
    Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
               StepResult& result) override;

    void observe_logits(LogitsObserver observer);
    const PageTable& pages() const;
    std::uint64_t weight_bytes() const;  ///< device memory of the packed weights
    std::uint64_t kv_bytes() const;

  private:
    struct Impl;
    explicit Shard(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace potluck::engine
