// The sampler once more, slowly and in double, to compare with.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "base/batch.h"
#include "base/rng.h"

namespace potluck::model {

inline std::vector<float> random_logits(std::uint64_t seed, std::size_t n, float spread) {
    std::vector<float> logits(n);
    for (std::size_t i = 0; i < n; ++i)
        logits[i] = spread * (2 * static_cast<float>(uniform(seed, i)) - 1);
    return logits;
}

inline void penalise_naively(std::vector<float>& logits, const SamplerSpec& spec,
                             std::vector<TokenId> tokens) {
    if (spec.penalty_window > 0) {
        while (tokens.size() > static_cast<std::size_t>(spec.penalty_window))
            tokens.erase(tokens.begin());
    }
    for (std::size_t i = 0; i < logits.size(); ++i) {
        const auto n = std::count(tokens.begin(), tokens.end(), static_cast<TokenId>(i));
        if (n == 0) continue;
        if (logits[i] > 0) {
            logits[i] /= spec.repetition_penalty;
        } else {
            logits[i] *= spec.repetition_penalty;
        }
        logits[i] -= static_cast<float>(n) * spec.frequency_penalty + spec.presence_penalty;
    }
}

/// The probability of every token that may be drawn: truncation on the untempered probabilities,
/// each cut renormalised before the next, then the temperature.
inline std::map<TokenId, double> naive_distribution(std::span<const float> logits,
                                                    const SamplerSpec& spec) {
    std::vector<std::pair<double, TokenId>> kept;  // minus the logit, so that sorting is our order
    for (std::size_t i = 0; i < logits.size(); ++i)
        kept.emplace_back(-static_cast<double>(logits[i]), static_cast<TokenId>(i));
    std::sort(kept.begin(), kept.end());
    if (spec.top_k > 0) kept.resize(std::min(kept.size(), static_cast<std::size_t>(spec.top_k)));
    const auto total = [&](double temperature) {
        double sum = 0;
        for (const auto& [negative, token] : kept)
            sum += std::exp(-negative / temperature);
        return sum;
    };
    if (spec.top_p < 1) {
        const double all = total(1);
        double sum = 0;
        std::size_t n = 0;
        while (n < kept.size() && (n == 0 || sum < static_cast<double>(spec.top_p) * all))
            sum += std::exp(-kept[n++].first);
        kept.resize(n);
    }
    const double best = kept[0].first;
    std::erase_if(kept, [&](const auto& k) {
        return std::exp(best - k.first) < static_cast<double>(spec.min_p);
    });
    const auto temperature = static_cast<double>(spec.temperature);
    const double all = total(temperature);
    std::map<TokenId, double> distribution;
    for (const auto& [negative, token] : kept)
        distribution[token] = std::exp(-negative / temperature) / all;
    return distribution;
}

}  // namespace potluck::model
