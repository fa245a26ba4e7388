#pragma once

// A model whose layers are hashes. A row's hidden state is 64 bits; a layer mixes it with what the
// KV cache holds of every earlier position of its sequence, found through a real page table. A
// lost, doubled or swapped activation, a wrong page, fork or copy changes every later token; the
// sequence's id, its place in a batch and the other sequences change nothing.
//
// On a link a hidden state is kFakeWidth floats, each an integer of 16 bits, which f32 holds
// exactly.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "engine/page_table.h"
#include "engine/stage_model.h"
#include "engine/token_history.h"

namespace potluck::sim {

inline constexpr std::size_t kFakeWidth = 4;

std::array<float, kFakeWidth> to_values(std::uint64_t hidden);
/// kCorrupt if the values are not what to_values makes.
Result<std::uint64_t> from_values(std::span<const float> values);

struct FakeModelOptions {
    LayerIndex begin = 0;
    LayerIndex end = 1;
    bool embedding = true;
    bool head = true;
    std::uint32_t vocabulary = 4096;
    TokenId end_token = 0;  ///< sampled more often than others:
    std::uint64_t end_token_one_in = 40;
    std::size_t pages = 64;
    std::size_t page_tokens = 4;
    std::size_t context = 128;
    std::size_t max_rows = 64;
    bool proposes = false;     ///< a drafter lives with the head: it says the sampled token + 1
    bool copies_pages = true;  ///< false: forgets copy-on-write, to see that a test notices
};

class FakeModel final : public engine::StageModel {
  public:
    explicit FakeModel(const FakeModelOptions& options);

    std::size_t input_width() const override { return options_.embedding ? 0 : kFakeWidth; }
    std::size_t output_width() const override { return options_.head ? 0 : kFakeWidth; }
    std::size_t max_rows() const override { return options_.max_rows; }
    Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
               StepResult& result) override;

    /// Begins with what `before` holds of these sequences, in its own layers from `from` on. False,
    /// and nothing is kept, if `before` has not all of that.
    bool keep(const FakeModel& before, LayerIndex from,
              std::span<const engine::KeptSequence> sequences);

    const engine::PageTable& pages() const { return pages_; }
    /// That had to be copied, done or not.
    std::uint64_t copied_pages() const { return copied_pages_; }

    /// What the cancelled rows of a sequence compute from now on is not defined: here, noise.
    void make_junk(SeqId seq, std::uint32_t generation) {
        junk_[seq] = std::max(junk_[seq], generation);
    }

    // For mistakes on purpose.
    /// A sequence whose first `length` tokens are there but are not those of `seq`; 0: none. Only
    /// the part with the head knows tokens.
    SeqId stranger_to(SeqId seq, std::uint32_t length) const;
    void forget_next_fork() { forgets_fork_ = true; }
    /// Overwrites what the cache holds of a position; false if there is none.
    bool spoil(SeqId seq, std::uint32_t position);

  private:
    Status apply(const Operation& operation);
    Status place_rows(const Batch& batch);
    Status read_input(const Batch& batch, std::span<const float> input);
    void copy_pages();
    bool is_junk(const Row& row) const;
    void run_layer(LayerIndex layer, const Batch& batch);
    void sample(std::uint64_t hidden, const Row& row, StepResult& result) const;

    FakeModelOptions options_;
    engine::PageTable pages_;
    engine::TokenHistory history_;
    std::vector<std::vector<std::uint64_t>> cache_;  ///< per layer, per place of the page table
    std::vector<engine::PageCopy> copies_;
    std::set<SeqId> open_;
    std::map<SeqId, std::uint32_t> junk_;  ///< rows of smaller generations
    bool forgets_fork_ = false;
    LayerIndex kept_from_;               ///< rows at kept positions are not computed from here on
    std::vector<bool> at_kept_;          ///< of the batch's rows
    std::vector<std::int32_t> places_;   ///< of the batch's rows
    std::vector<std::uint64_t> hidden_;  ///< of the batch's rows
    std::uint64_t copied_pages_ = 0;
};

}  // namespace potluck::sim
