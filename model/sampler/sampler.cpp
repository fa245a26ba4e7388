#include "model/sampler/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/portable_math.h"
#include "base/rng.h"

namespace potluck::model {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr std::size_t kBlock = 256;  ///< logits of which the largest is found at once
constexpr std::size_t kLanes = 16;   ///< of them, side by side

/// NaN never wins; kNever if nothing else is there.
float largest(std::span<const float> logits) {
    std::array<float, kLanes> lanes;
    lanes.fill(kNever);
    std::size_t i = 0;
    for (; i + kLanes <= logits.size(); i += kLanes) {
        for (std::size_t j = 0; j < kLanes; ++j)
            lanes[j] = logits[i + j] > lanes[j] ? logits[i + j] : lanes[j];
    }
    float peak = kNever;
    for (const float x : lanes)
        peak = std::max(peak, x);
    for (; i < logits.size(); ++i)
        peak = std::max(peak, logits[i]);
    return peak;
}

/// The first of the largest; 0 if none is larger than kNever. A drafted row is sampled like any
/// other, so this is part of what it costs: the largest is looked for in blocks that need no branch
/// for each logit, and its place only in its own block.
std::size_t first_of_largest(std::span<const float> logits) {
    float peak = kNever;
    std::size_t block = 0;
    for (std::size_t i = 0; i < logits.size(); i += kBlock) {
        const float x = largest(logits.subspan(i, std::min(kBlock, logits.size() - i)));
        if (x > peak) {
            peak = x;
            block = i;
        }
    }
    if (!(peak > kNever)) return 0;
    while (logits[block] != peak)
        ++block;
    return block;
}

}  // namespace

Sampler::Sampler(std::size_t vocabulary) : vocabulary_(vocabulary), counts_(vocabulary, 0) {
    candidates_.reserve(vocabulary);
}

double Sampler::log_sum_exp(std::span<const float> logits) const {
    const auto row = logits.first(vocabulary_);
    float peak = kNever;
    for (const float x : row)
        peak = std::max(peak, x);  // NaN never wins
    if (!std::isfinite(peak)) return 0;
    double sum = 0;
    for (const float x : row) {
        if (x > kNever) sum += static_cast<double>(portable_exp(x - peak));
    }
    return static_cast<double>(peak) + portable_log(sum);
}

void Sampler::best(std::span<const float> logits, std::size_t n_top, double log_sum,
                   std::vector<TokenLogprob>& top) {
    candidates_.clear();
    for (std::size_t i = 0; i < vocabulary_; ++i) {
        const float logit = std::isnan(logits[i]) ? kNever : logits[i];  // NaN has no order
        candidates_.push_back({logit, static_cast<TokenId>(i)});
    }
    sorted_ = 0;
    sort_first(n_top);
    for (std::size_t i = 0; i < sorted_; ++i) {
        const double logprob = static_cast<double>(candidates_[i].logit) - log_sum;
        top.push_back({candidates_[i].token, static_cast<float>(logprob)});
    }
}

void Sampler::penalise(std::span<float> logits, const SamplerSpec& spec,
                       std::span<const TokenId> tokens) {
    const bool active =
        spec.repetition_penalty != 1 || spec.presence_penalty != 0 || spec.frequency_penalty != 0;
    if (!active) return;
    const auto window = static_cast<std::size_t>(std::max(spec.penalty_window, 0));
    if (window > 0 && tokens.size() > window) tokens = tokens.last(window);
    const auto known = [&](TokenId t) {
        return t >= 0 && static_cast<std::size_t>(t) < vocabulary_;
    };
    for (const TokenId t : tokens) {
        if (known(t)) ++counts_[static_cast<std::size_t>(t)];
    }
    for (const TokenId t : tokens) {
        if (!known(t)) continue;
        const auto i = static_cast<std::size_t>(t);
        if (counts_[i] == 0) continue;  // done at its first occurrence
        float& logit = logits[i];
        logit = logit > 0 ? logit / spec.repetition_penalty : logit * spec.repetition_penalty;
        logit -= static_cast<float>(counts_[i]) * spec.frequency_penalty + spec.presence_penalty;
        counts_[i] = 0;
    }
}

TokenId Sampler::sample(std::span<float> logits, const SamplerSpec& spec,
                        std::span<const TokenId> tokens, std::uint64_t position) {
    POTLUCK_CHECK(logits.size() >= vocabulary_);
    for (const auto& [token, bias] : spec.logit_bias) {
        if (token >= 0 && static_cast<std::size_t>(token) < vocabulary_) {
            logits[static_cast<std::size_t>(token)] += bias;
        }
    }
    penalise(logits, spec, tokens);
    if (!(spec.temperature > 0)) {
        return static_cast<TokenId>(first_of_largest(logits.first(vocabulary_)));
    }
    candidates_.clear();
    for (std::size_t i = 0; i < vocabulary_; ++i) {
        // The largest float stands for infinity: differences of logits are then never NaN.
        const float logit = std::min(logits[i], std::numeric_limits<float>::max());
        if (logits[i] > kNever) candidates_.push_back({logit, static_cast<TokenId>(i)});
    }
    if (candidates_.empty()) return 0;
    sorted_ = 0;
    if (spec.top_k > 0) keep_top_k(static_cast<std::size_t>(spec.top_k));
    if (spec.top_p < 1) keep_top_p(spec.top_p);
    if (spec.min_p > 0) keep_min_p(spec.min_p);
    return draw(spec, position);
}

/// Puts the best n candidates in front, in order; what is already sorted stays.
void Sampler::sort_first(std::size_t n) {
    n = std::min(n, candidates_.size());
    if (n <= sorted_) return;
    const auto better = [](const Candidate& a, const Candidate& b) {
        return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
    };
    const auto from = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted_);
    std::partial_sort(from, candidates_.begin() + static_cast<std::ptrdiff_t>(n), candidates_.end(),
                      better);
    sorted_ = n;
}

void Sampler::keep_top_k(std::size_t k) {
    if (k >= candidates_.size()) return;
    sort_first(k);
    candidates_.resize(k);
}

void Sampler::keep_top_p(float p) {
    sort_first(1);
    const float peak = candidates_[0].logit;
    // The total is summed in id order before anything more is sorted, so it has one value.
    double total = 0;
    for (const auto& c : candidates_)
        total += static_cast<double>(portable_exp(c.logit - peak));
    double sum = 0;
    std::size_t kept = 0;
    while (kept < candidates_.size()) {
        if (kept == sorted_) sort_first(std::max<std::size_t>(64, sorted_ * 4));
        sum += static_cast<double>(portable_exp(candidates_[kept].logit - peak));
        ++kept;
        if (sum >= static_cast<double>(p) * total) break;
    }
    candidates_.resize(std::max<std::size_t>(kept, 1));
    sorted_ = candidates_.size();
}

void Sampler::keep_min_p(float p) {
    float peak = kNever;
    for (const auto& c : candidates_)
        peak = std::max(peak, c.logit);
    const auto out = [&](const Candidate& c) { return portable_exp(c.logit - peak) < p; };
    const auto end = std::remove_if(candidates_.begin(), candidates_.end(), out);
    candidates_.erase(end, candidates_.end());
    sorted_ = std::min(sorted_, candidates_.size());
}

TokenId Sampler::draw(const SamplerSpec& spec, std::uint64_t position) const {
    float peak = kNever;
    for (const auto& c : candidates_)
        peak = std::max(peak, c.logit);
    const auto weight = [&](const Candidate& c) {
        return static_cast<double>(portable_exp((c.logit - peak) / spec.temperature));
    };
    double total = 0;
    for (const auto& c : candidates_)
        total += weight(c);
    const double target = uniform(spec.seed, position) * total;
    double sum = 0;
    for (const auto& c : candidates_) {
        sum += weight(c);
        if (target < sum) return c.token;
    }
    return candidates_.back().token;
}

}  // namespace potluck::model
