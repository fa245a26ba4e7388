#pragma once

// The token ids and sampler of each sequence, which the stage with the head keeps for sampling.
// Follows the same operations as the page table. Thread: the executor's.

#include <cstddef>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/batch.h"

namespace potluck::engine {

class TokenHistory {
  public:
    /// Room for `max_length` tokens is taken when a sequence opens, so that rows never allocate.
    explicit TokenHistory(std::size_t max_length) : max_length_(max_length) {}

    /// The page table has accepted the operation before.
    void apply(const Operation& operation);
    void record(const Row& row);

    const SamplerSpec& sampler(SeqId seq) const;
    /// Tokens at positions 0..position.
    std::span<const TokenId> until(SeqId seq, std::uint32_t position) const;

  private:
    struct Sequence {
        SamplerSpec sampler;
        std::vector<TokenId> tokens;
        std::vector<std::pair<std::uint64_t, std::size_t>> checkpoints;
    };
    std::size_t max_length_;
    std::unordered_map<SeqId, Sequence> sequences_;
};

}  // namespace potluck::engine
