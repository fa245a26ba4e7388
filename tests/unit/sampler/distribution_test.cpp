// What can be drawn, and how often, against the naive sampler.

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "model/sampler/sampler.h"
#include "tests/unit/sampler/naive_sampler.h"

namespace potluck::model {
namespace {

constexpr std::size_t kDraws = 20000;

std::map<TokenId, std::size_t> draw_often(const std::vector<float>& logits,
                                          const SamplerSpec& spec) {
    Sampler sampler(logits.size());
    std::map<TokenId, std::size_t> counts;
    std::vector<float> copy;
    for (std::uint64_t position = 0; position < kDraws; ++position) {
        copy = logits;
        ++counts[sampler.sample(copy, spec, {}, position)];
    }
    return counts;
}

/// Same set of tokens, and frequencies that a chi-square test believes: its mean is the degrees of
/// freedom, its variance twice that, and five deviations are never reached by luck. Tokens too rare
/// to be sure of are pooled.
void expect_distribution(const std::vector<float>& logits, const SamplerSpec& spec) {
    const auto expected = naive_distribution(logits, spec);
    const auto counts = draw_often(logits, spec);
    for (const auto& [token, n] : counts)
        EXPECT_TRUE(expected.contains(token)) << "token " << token << " cannot be drawn";
    double chi_square = 0;
    double pooled = 0;
    double pooled_count = 0;
    std::size_t classes = 0;
    const auto add = [&](double n, double mean) {
        chi_square += (n - mean) * (n - mean) / mean;
        ++classes;
    };
    for (const auto& [token, probability] : expected) {
        const auto found = counts.find(token);
        const double n = found == counts.end() ? 0 : static_cast<double>(found->second);
        const double mean = probability * kDraws;
        if (mean < 20) {
            pooled += mean;
            pooled_count += n;
            continue;
        }
        EXPECT_GT(n, 0) << "token " << token << " is never drawn";
        add(n, mean);
    }
    if (pooled > 5) add(pooled_count, pooled);
    const auto freedom = static_cast<double>(classes) - 1;
    EXPECT_LE(chi_square, freedom + 5 * std::sqrt(2 * freedom) + 1e-9);
}

TEST(Distribution, Temperature) {
    const auto logits = random_logits(1, 60, 3);
    for (const float temperature : {0.3F, 1.0F, 1.7F, 50.0F}) {
        SCOPED_TRACE(temperature);
        expect_distribution(logits, {.seed = 11, .temperature = temperature});
    }
}

TEST(Distribution, TopK) {
    const auto logits = random_logits(2, 60, 2);
    for (const std::int32_t k : {1, 2, 7, 59, 60, 1000}) {
        SCOPED_TRACE(k);
        expect_distribution(logits, {.seed = 12, .temperature = 1.5F, .top_k = k});
    }
}

TEST(Distribution, TopP) {
    const auto logits = random_logits(3, 120, 3);
    for (const float p : {0.0F, 0.01F, 0.2F, 0.5F, 0.9F, 0.999F}) {
        SCOPED_TRACE(p);
        expect_distribution(logits, {.seed = 13, .temperature = 1, .top_p = p});
    }
}

TEST(Distribution, MinP) {
    const auto logits = random_logits(4, 60, 2);
    for (const float p : {0.01F, 0.2F, 0.6F, 1.0F}) {
        SCOPED_TRACE(p);
        expect_distribution(logits, {.seed = 14, .temperature = 2, .min_p = p});
    }
}

TEST(Distribution, TruncationComesBeforeTemperature) {
    const auto logits = random_logits(5, 80, 3);
    expect_distribution(logits, {.seed = 15, .temperature = 100, .top_p = 0.5F});
    expect_distribution(logits, {.seed = 15, .temperature = 100, .min_p = 0.3F});
    expect_distribution(logits, {.seed = 15, .temperature = 0.2F, .top_p = 0.8F});
}

TEST(Distribution, AllTogether) {
    for (std::uint64_t seed = 20; seed < 25; ++seed) {
        SCOPED_TRACE(seed);
        const auto logits = random_logits(seed, 100, 3);
        expect_distribution(
            logits,
            {.seed = seed, .temperature = 1.2F, .top_k = 40, .top_p = 0.8F, .min_p = 0.15F});
    }
}

TEST(Distribution, TiesAtTheEdgeKeepTheLowestIds) {
    const std::vector<float> logits(10, 1.0F);
    const auto counts = draw_often(logits, {.seed = 1, .temperature = 1, .top_k = 3});
    ASSERT_EQ(counts.size(), 3U);
    EXPECT_TRUE(counts.contains(0) && counts.contains(1) && counts.contains(2));
}

}  // namespace
}  // namespace potluck::model
