// Models, devices and chains of shards for the engine's tests.

#pragma once

#include <compare>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/shard.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/support/tiny_model.h"

namespace potluck::engine {

struct LoadedModel {
    std::optional<test::TinyModel> tiny;  ///< empty for the bundled model
    std::shared_ptr<const model::gguf::Gguf> file;
    model::ModelDescription description;
};
LoadedModel load_tiny(const test::TinySpec& spec);
/// "tiny-coder", or "<architecture>-<type>" of a tiny model whose matrices have that type.
LoadedModel load_named(const std::string& name);
/// All that load_named() is tested with.
std::vector<std::string> model_names();

struct DeviceChoice {
    std::optional<kernels::cpu::Isa> isa;  ///< empty: the best
    std::size_t threads = 1;
    bool deferred = false;
};
std::unique_ptr<kernels::Device> make_device(const DeviceChoice& choice = {});

/// n token ids of the vocabulary, the same for the same seed.
std::vector<TokenId> random_tokens(const LoadedModel& model, std::uint64_t seed, std::size_t n);
/// A sampler for which everything that the history holds matters.
SamplerSpec lively_sampler(std::uint64_t seed);

struct Outcome {
    std::vector<float> logits;
    TokenId token = -1;  ///< sampled
};
/// By position.
using Outcomes = std::map<std::uint32_t, Outcome>;

/// Empty if both have the same positions from `from` on, with the same bits and the same tokens.
std::string difference(const Outcomes& a, const Outcomes& b, std::uint32_t from = 0);

/// A model cut into shards that run one after another; activations are carried by hand.
class Chain {
  public:
    /// Stage i has layers [cuts[i-1], cuts[i]); no cuts: one shard.
    Chain(const LoadedModel& model, kernels::Device& device, ShardOptions options = {},
          std::vector<LayerIndex> cuts = {}, WeightPool* pool = nullptr);
    Chain(const Chain&) = delete;  // its last shard shows it the logits
    Chain& operator=(const Chain&) = delete;

    Status run(const Batch& batch);
    Status apply(std::vector<Operation> operations);
    Status open(SeqId seq, const SamplerSpec& sampler = {});
    /// Rows for tokens after what the sequence has, all sampled.
    std::vector<Row> rows(SeqId seq, std::span<const TokenId> tokens) const;
    /// Feeds tokens in batches of `chunk` rows.
    Status feed(SeqId seq, std::span<const TokenId> tokens, std::size_t chunk = 512);

    std::uint32_t length(SeqId seq) const { return shards_[0]->pages().length(seq); }
    Shard& shard(std::size_t i = 0) { return *shards_[i]; }
    std::size_t stages() const { return shards_.size(); }
    const Outcomes& seen(SeqId seq) { return seen_[seq.value]; }
    const StepResult& result() const { return result_; }

  private:
    std::size_t width_;
    std::vector<std::unique_ptr<Shard>> shards_;
    std::map<std::uint64_t, Outcomes> seen_;
    StepResult result_;
};

/// What a new sequence of one shard gives for these tokens.
Outcomes fresh(const LoadedModel& model, std::span<const TokenId> tokens,
               const SamplerSpec& sampler);

}  // namespace potluck::engine
