#pragma once

// A whole model on one device in this process, one sequence: the reference path without any
// network, behind `potluck run` and `potluck perplexity` and beside which clusters are tested.
//
// Thread: the caller's.

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/batch.h"
#include "base/result.h"
#include "engine/open_model.h"
#include "engine/shard.h"

namespace potluck::engine {

struct LocalOptions {
    std::size_t context = 0;          ///< positions; 0: what the model was made for
    std::size_t prefill_chunk = 256;  ///< rows per batch of a prompt
    KvTypes kv;                       ///< how keys and values are stored
};

class LocalRunner {
  public:
    static Result<std::unique_ptr<LocalRunner>> load(const OpenModel& model,
                                                     kernels::Device& device,
                                                     const LocalOptions& options,
                                                     const LoadProgress& progress = {});

    /// Begins a new sequence; the one before is forgotten.
    Status begin(const SamplerSpec& sampler);
    /// Feeds tokens after what was fed; samples after the last one.
    Result<TokenId> feed(std::span<const TokenId> tokens);
    /// Feeds tokens and shows the logits after each of them.
    Status feed_all(std::span<const TokenId> tokens, LogitsObserver observer);

    /// Takes back what was fed after the first `length` tokens.
    Status truncate(std::uint32_t length);

    /// Feeds the prompt, then samples until `on_token` says no or `max_tokens` came.
    Status generate(std::span<const TokenId> prompt, std::size_t max_tokens,
                    const std::function<bool(TokenId)>& on_token);

    std::size_t context() const { return context_; }
    std::uint32_t length() const { return length_; }  ///< tokens that were fed
    Shard& shard() { return *shard_; }

  private:
    LocalRunner(std::unique_ptr<Shard> shard, std::size_t context, std::size_t chunk)
        : shard_(std::move(shard)), context_(context), chunk_(chunk) {}
    Status run_chunks(std::span<const TokenId> tokens, bool sample_all);

    std::unique_ptr<Shard> shard_;
    std::size_t context_;
    std::size_t chunk_;
    Batch batch_;
    StepResult result_;
    std::uint64_t sequence_ = 0;
    std::uint32_t length_ = 0;
};

}  // namespace potluck::engine
