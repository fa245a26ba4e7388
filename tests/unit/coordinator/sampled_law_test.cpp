// Speculation does not bend the model's distribution: at temperature 1 the tokens of a small model
// whose probabilities are known are counted, without drafts and with those of the real drafters,
// and compared with them by Pearson's chi-square.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>

#include "base/rng.h"
#include "coordinator/speculate/speculator.h"
#include "model/sampler/sampler.h"
#include "tests/unit/coordinator/support.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kLetters = 12;
constexpr std::size_t kRequests = 300;
constexpr std::uint32_t kTokens = 48;

using Row12 = std::array<double, kLetters>;
using Table = std::array<Row12, kLetters>;

/// Each token's chances depend on the one before: chances from about 1 % to 60 %.
float logit(std::size_t before, std::size_t next) {
    return static_cast<float>(4 * uniform(5, before, static_cast<std::uint32_t>(next)));
}

Table chances() {
    Table table{};
    for (std::size_t before = 0; before < kLetters; ++before) {
        double sum = 0;
        for (std::size_t next = 0; next < kLetters; ++next)
            sum += table[before][next] = std::exp(static_cast<double>(logit(before, next)));
        for (double& chance : table[before])
            chance /= sum;
    }
    return table;
}

SamplerSpec sampler_for(std::uint64_t id) {
    SamplerSpec spec;
    spec.temperature = 1;
    spec.seed = 1000 + id;
    return spec;
}

/// Samples as a last stage does: by the sequence's specification and the row's position.
class SmallModel {
  public:
    SmallModel(const PipelineLimits& limits, std::unique_ptr<Speculation> speculation)
        : pipeline(limits, {}, std::move(speculation)) {
        for (std::size_t i = 0; i < kLetters; ++i)
            letters_[i] = token_of(std::string(1, static_cast<char>('a' + i)));
        pipeline.next_token = [this](const Row& row) { return sample(row); };
    }
    /// Tokens of one answer, as numbers of letters.
    std::vector<std::size_t> ask(std::uint64_t id, const std::string& choice) {
        GenerationRequest request{.prompt = {letters_[id % kLetters], letters_[3], letters_[0]},
                                  .max_tokens = kTokens,
                                  .sampler = sampler_for(id),
                                  .ignore_eos = true,
                                  .speculation = choice};
        EXPECT_TRUE(pipeline.submit(id, std::move(request)));
        pipeline.drain();
        std::vector<std::size_t> answer;
        for (const char c : pipeline.told[id].choices.at(0).text)
            answer.push_back(static_cast<std::size_t>(c - 'a'));
        EXPECT_EQ(answer.size(), kTokens);
        return answer;
    }

    Pipeline pipeline;

  private:
    std::size_t number_of(TokenId token) const {
        return static_cast<std::size_t>(std::find(letters_.begin(), letters_.end(), token) -
                                        letters_.begin()) %
               kLetters;
    }
    TokenId sample(const Row& row) {
        for (; seen_ < pipeline.sent.size(); ++seen_) {
            for (const auto& operation : pipeline.sent[seen_].operations) {
                if (operation.kind == OperationKind::kOpen)
                    samplers_[operation.seq] = operation.sampler;
            }
        }
        std::array<float, kLetters> logits{};
        for (std::size_t next = 0; next < kLetters; ++next)
            logits[next] = logit(number_of(row.token), next);
        SamplerSpec spec = samplers_.at(row.seq);
        spec.logit_bias.clear();  // of ids that this model does not have
        const auto drawn = sampler_.sample(logits, spec, {}, row.position);
        return letters_[static_cast<std::size_t>(drawn)];
    }

    std::array<TokenId, kLetters> letters_{};
    model::Sampler sampler_{kLetters};
    std::map<SeqId, SamplerSpec> samplers_;
    std::size_t seen_ = 0;
};

/// Of counted pairs, given the first of each: kLetters * (kLetters - 1) degrees of freedom.
double chi_square(const Table& counted, const Table& expected) {
    double sum = 0;
    for (std::size_t before = 0; before < kLetters; ++before) {
        double n = 0;
        for (const double count : counted[before])
            n += count;
        for (std::size_t next = 0; next < kLetters; ++next) {
            const double wanted = n * expected[before][next];
            EXPECT_GE(wanted, 5) << "too few for this test";
            sum += (counted[before][next] - wanted) * (counted[before][next] - wanted) / wanted;
        }
    }
    return sum;
}

constexpr double kFreedom = kLetters * (kLetters - 1);
/// Wilson and Hilferty: beyond 3.72 deviations by chance once in 10,000.
double quantile(double deviations) {
    const double a = 2 / (9 * kFreedom);
    return kFreedom * std::pow(1 - a + deviations * std::sqrt(a), 3);
}

struct Counted {
    Table pairs{};
    std::vector<std::vector<std::size_t>> answers;
};

Counted count(SmallModel& model, const std::string& choice, std::uint64_t first_id) {
    Counted counted;
    for (std::uint64_t i = 0; i < kRequests; ++i) {
        // The seed is the request's; the same one with and without.
        auto answer = model.ask(first_id + i, choice);
        for (std::size_t t = 1; t < answer.size(); ++t)
            ++counted.pairs[answer[t - 1]][answer[t]];
        counted.answers.push_back(std::move(answer));
    }
    return counted;
}

class SampledLaw : public ::testing::TestWithParam<bool> {};

TEST_P(SampledLaw, IsTheModelsWithAndWithoutDrafts) {
    const bool ahead = GetParam();
    // Cheap rows are drafted together; rows that cost a step each go ahead one by one.
    PipelineLimits limits{
        .stages = 3,
        .max_in_flight = 8,
        .max_batch_rows = 16,
        .kv_pages = 400,
        .page_tokens = 4,
        .context = 64,
        .slots = 2,
        .costs = {3, {.curve = ahead ? CostCurve(1us, 10ms) : CostCurve(10ms, 10us)}}};
    SmallModel plain(limits, nullptr);
    SmallModel drafted(limits, make_speculator({}));
    const Counted without = count(plain, "", 1);
    const Counted with = count(drafted, "auto", 1);
    const double low = quantile(-3.72), high = quantile(3.72);
    const double x_without = chi_square(without.pairs, chances());
    const double x_with = chi_square(with.pairs, chances());
    EXPECT_GT(x_without, low);
    EXPECT_LT(x_without, high);
    EXPECT_GT(x_with, low);
    EXPECT_LT(x_with, high);
    // Not only in distribution.
    EXPECT_EQ(with.answers, without.answers);
    const auto counters = drafted.pipeline.scheduler.counters();
    EXPECT_GT(counters.rows_accepted, 500U);
    EXPECT_GT(counters.rows_drafted - counters.rows_accepted, 500U);
    // The test would see a drafter that is believed: a twentieth of all tokens become the likeliest
    // one.
    Table bent = with.pairs;
    const Table expected = chances();
    for (std::size_t before = 0; before < kLetters; ++before) {
        const Row12& row = expected[before];
        const auto likely =
            static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
        for (std::size_t next = 0; next < kLetters; ++next) {
            const double moved = bent[before][next] / 20;
            bent[before][next] -= moved;
            bent[before][likely] += moved;
        }
    }
    EXPECT_GT(chi_square(bent, chances()), high);
    std::printf(
        "chi-square with %.0f degrees of freedom: %.1f without, %.1f with drafts; %llu of "
        "%llu drafted rows were right\n",
        kFreedom, x_without, x_with, static_cast<unsigned long long>(counters.rows_accepted),
        static_cast<unsigned long long>(counters.rows_drafted));
}

INSTANTIATE_TEST_SUITE_P(Ahead, SampledLaw, ::testing::Bool());

}  // namespace
}  // namespace potluck::coordinator
