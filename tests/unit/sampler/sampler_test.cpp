#include "model/sampler/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "tests/unit/sampler/naive_sampler.h"

namespace potluck::model {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TokenId greedy(std::vector<float> logits, const SamplerSpec& spec = {}) {
    Sampler sampler(logits.size());
    return sampler.sample(logits, spec, {}, 0);
}

TEST(Greedy, TakesTheBestAndTheLowestIdOnATie) {
    EXPECT_EQ(greedy({0, 3, 1}), 1);
    EXPECT_EQ(greedy({1, 3, 3, 3}), 1);
    EXPECT_EQ(greedy({-5, -2, -2}), 1);
    EXPECT_EQ(greedy({0.0F, -0.0F}), 0);
}

TEST(Greedy, NeverTakesNanOrPadding) {
    EXPECT_EQ(greedy({kNan, 1, 2}), 2);
    EXPECT_EQ(greedy({2, kNan, 1}), 0);
    Sampler sampler(3);
    std::vector<float> padded = {1, 2, 0, 99, 99};
    EXPECT_EQ(sampler.sample(padded, {}, {}, 0), 1);
}

TEST(Greedy, FindsTheFirstOfTheBestAmongMany) {
    std::uint32_t draws = 0;
    const auto draw = [&] { return uniform(7, 0, ++draws); };
    for (std::size_t n = 1; n < 900; n += 13) {
        std::vector<float> logits(n);
        for (float& x : logits) {
            const double what = draw();
            // Few values, so that the largest comes often.
            x = what < 0.1 ? kNan : what < 0.2 ? -kInf : static_cast<float>(std::floor(draw() * 9));
        }
        std::size_t winner = 0;
        float peak = -kInf;
        for (std::size_t i = 0; i < n; ++i) {
            if (!(logits[i] > peak)) continue;
            peak = logits[i];
            winner = i;
        }
        EXPECT_EQ(greedy(logits), static_cast<TokenId>(winner)) << n;
    }
    std::vector<float> last(1000, -1.0F);
    last.back() = kInf;
    EXPECT_EQ(greedy(last), 999);
}

TEST(Greedy, NothingAllowedStillGivesAToken) {
    for (const float temperature : {0.0F, 1.0F}) {
        EXPECT_EQ(greedy({-kInf, kNan, -kInf}, {.temperature = temperature}), 0);
    }
}

TEST(Drawing, NeverTakesNanForbiddenOrPadding) {
    const std::vector<float> logits = {kNan, 1, 1, -kInf, 1, 50, 50};
    Sampler sampler(5);
    SamplerSpec spec{.temperature = 2};
    spec.logit_bias = {{2, -kInf}, {-1, 9}, {5, 9}, {1000, 9}};
    std::set<TokenId> reached;
    for (std::uint64_t position = 0; position < 500; ++position) {
        auto copy = logits;
        reached.insert(sampler.sample(copy, spec, {}, position));
    }
    EXPECT_EQ(reached, (std::set<TokenId>{1, 4}));
}

TEST(Drawing, InfiniteLogitsAreCertain) {
    for (const float top_p : {1.0F, 0.5F})
        for (const float min_p : {0.0F, 0.1F}) {
            const SamplerSpec spec{.temperature = 1, .top_p = top_p, .min_p = min_p};
            EXPECT_EQ(greedy({1, 2, kInf, 3}, spec), 2);
        }
}

TEST(LogitBias, Adds) {
    SamplerSpec spec;
    spec.logit_bias = {{0, 3.0F}};
    EXPECT_EQ(greedy({0, 1, 2.5F}, spec), 0);
    spec.logit_bias = {{2, -kInf}, {1, -2.0F}};
    EXPECT_EQ(greedy({0, 1, 2.5F}, spec), 0);
}

struct PenaltyCase {
    float repetition, presence, frequency;
    std::int32_t window;
};

TEST(Penalties, EqualNaiveOnes) {
    const auto logits = random_logits(3, 30, 4);
    std::vector<TokenId> tokens = {-1, 30, 1000};  // unknown ids are passed over
    for (int i = 0; i < 40; ++i)
        tokens.push_back(static_cast<TokenId>(uniform(9, static_cast<std::uint64_t>(i)) * 12));
    for (const auto& [repetition, presence, frequency, window] :
         {PenaltyCase{1.3F, 0, 0, 0}, PenaltyCase{0.5F, 0, 0, 7}, PenaltyCase{1, 0.7F, 0, 0},
          PenaltyCase{1, 0, 0.25F, 0}, PenaltyCase{1, 0, 0.25F, 3}, PenaltyCase{2, 0.5F, 0.1F, 12},
          PenaltyCase{2, -0.5F, -0.1F, 1000}, PenaltyCase{1, 0, 0, 0}}) {
        SamplerSpec spec;
        spec.repetition_penalty = repetition;
        spec.presence_penalty = presence;
        spec.frequency_penalty = frequency;
        spec.penalty_window = window;
        spec.logit_bias = {{4, 2.0F}};
        auto ours = logits;
        Sampler sampler(logits.size());
        for (int again = 0; again < 2; ++again) {  // no counts are left over from the first
            ours = logits;
            sampler.sample(ours, spec, tokens, 0);
        }
        auto expected = logits;
        expected[4] += 2;
        penalise_naively(expected, spec, tokens);
        for (std::size_t i = 0; i < logits.size(); ++i)
            EXPECT_FLOAT_EQ(ours[i], expected[i]) << "token " << i << " window " << window;
    }
}

TEST(Sampling, DependsOnSeedAndPositionAlone) {
    const auto logits = random_logits(5, 100, 2);
    const SamplerSpec spec{.seed = 77, .temperature = 1, .top_k = 60, .top_p = 0.95F};
    std::vector<TokenId> first;
    Sampler sampler(100);
    for (std::uint64_t position = 0; position < 200; ++position) {
        auto copy = logits;
        first.push_back(sampler.sample(copy, spec, {}, position));
    }
    // Backwards, with other work in between and with fresh samplers.
    for (std::uint64_t position = 200; position-- > 0;) {
        auto other = random_logits(position, 100, 5);
        const std::vector<TokenId> tokens = {1, 2, 3};
        sampler.sample(other, {.seed = position, .temperature = 2, .presence_penalty = 1}, tokens,
                       position);
        auto copy = logits;
        EXPECT_EQ(sampler.sample(copy, spec, {}, position), first[position]);
        Sampler fresh(100);
        copy = logits;
        EXPECT_EQ(fresh.sample(copy, spec, {}, position), first[position]);
    }
}

TEST(Sampling, SeedsAndPositionsDiffer) {
    const std::vector<float> flat(64, 0.0F);
    int same_seed = 0;
    int same_position = 0;
    Sampler sampler(64);
    const auto draw = [&](std::uint64_t seed, std::uint64_t position) {
        auto copy = flat;
        return sampler.sample(copy, {.seed = seed, .temperature = 1}, {}, position);
    };
    for (std::uint64_t i = 0; i < 640; ++i) {
        same_seed += draw(1, i) == draw(2, i) ? 1 : 0;
        same_position += draw(1, i) == draw(1, i + 1000) ? 1 : 0;
    }
    // One in 64 by chance: 10 of 640 expected.
    EXPECT_LT(same_seed, 30);
    EXPECT_LT(same_position, 30);
    EXPECT_NE(draw(1ULL << 32, 0) == draw(2ULL << 32, 0) && draw(1, 1ULL << 40) == draw(1, 0),
              true);
}

TEST(LogProbabilities, LogSumExp) {
    const auto logits = random_logits(8, 500, 30);
    double sum = 0;
    for (std::size_t i = 0; i < 400; ++i)
        sum += std::exp(static_cast<double>(logits[i]));
    const Sampler sampler(400);  // the rest is padding
    EXPECT_NEAR(sampler.log_sum_exp(logits), std::log(sum), 1e-5);
    const std::vector<float> huge = {1e30F, 1e30F};
    EXPECT_DOUBLE_EQ(Sampler(2).log_sum_exp(huge), static_cast<double>(1e30F));
}

TEST(LogProbabilities, NanTakesNoPart) {
    const std::vector<float> logits = {kNan, 0, kNan, 0, -kInf};
    Sampler sampler(5);
    const double sum = sampler.log_sum_exp(logits);
    EXPECT_NEAR(sum, std::log(2.0), 1e-6);
    std::vector<TokenLogprob> top;
    sampler.best(logits, 2, sum, top);
    ASSERT_EQ(top.size(), 2U);
    EXPECT_EQ(top[0].token, 1);
    EXPECT_EQ(top[1].token, 3);
}

TEST(LogProbabilities, BestInOrderLowestIdOnATie) {
    const std::vector<float> logits = {1, 5, 2, 5, 2, 9, 9};
    Sampler sampler(6);
    std::vector<TokenLogprob> top = {{42, 0}};  // what is there stays
    sampler.best(logits, 5, 10.0, top);
    const std::vector<TokenLogprob> expected = {{42, 0}, {5, -1}, {1, -5},
                                                {3, -5}, {2, -8}, {4, -8}};
    EXPECT_EQ(top, expected);
    top.clear();
    sampler.best(logits, 100, 0.0, top);
    EXPECT_EQ(top.size(), 6U);
    top.clear();
    sampler.best(logits, 0, 0.0, top);
    EXPECT_TRUE(top.empty());
}

}  // namespace
}  // namespace potluck::model
