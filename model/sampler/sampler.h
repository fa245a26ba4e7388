#pragma once

// Chooses the next token. The choice is a function of the logits, the sequence's tokens, the
// SamplerSpec and (seed, position) alone, so that any stage, on any machine, at any time, makes the
// same one. Order: logit bias, penalties; if temperature is 0 the best token, lowest id on a tie;
// else top_k, top_p, min_p (on the untempered probabilities), temperature, one draw.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/batch.h"

namespace potluck::model {

/// Scratch for one thread's sampling, allocated once.
class Sampler {
  public:
    /// Only ids below `vocabulary` are ever chosen; logits beyond it are padding.
    explicit Sampler(std::size_t vocabulary);

    /// `tokens`: the sequence so far, for penalties. `position`: of the last of them. `logits` has
    /// at least `vocabulary` values and is changed (bias, penalties).
    TokenId sample(std::span<float> logits, const SamplerSpec& spec,
                   std::span<const TokenId> tokens, std::uint64_t position);

    // Log-probabilities are the model's own: call these before sample(), which changes the logits.

    /// log(sum(exp(logits))): subtracted from a logit it gives the log-probability. NaN counts as
    /// -infinity; 0 if no finite number is the largest.
    double log_sum_exp(std::span<const float> logits) const;
    /// Appends the best n_top tokens to `top`, lowest id first on a tie.
    void best(std::span<const float> logits, std::size_t n_top, double log_sum,
              std::vector<TokenLogprob>& top);

  private:
    struct Candidate {
        float logit;
        TokenId token;
    };
    void penalise(std::span<float> logits, const SamplerSpec& spec,
                  std::span<const TokenId> tokens);
    void keep_top_k(std::size_t k);
    void keep_top_p(float p);
    void keep_min_p(float p);
    void sort_first(std::size_t n);
    TokenId draw(const SamplerSpec& spec, std::uint64_t position) const;

    std::size_t vocabulary_;
    std::vector<Candidate> candidates_;  ///< the first sorted_ in order: best first, then lowest id
    std::size_t sorted_ = 0;
    std::vector<std::uint32_t> counts_;  ///< per token, zero between calls
};

}  // namespace potluck::model
