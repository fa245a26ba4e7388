// The scheduler against the best constant micro-batching and against starvation, over pipelines
// and users that a seed draws. docs/simulation.md says what is measured.
//
// Each seed draws one pipeline and takes one shape and number of users; with POTLUCK_SIM_ALL=1 all
// nine of them. POTLUCK_SIM_SEED=17 plays one seed again.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "coordinator/core/plan.h"
#include "coordinator/simulate/micro_batching.h"
#include "coordinator/simulate/simulation.h"
#include "tests/sim/random.h"
#include "tests/support/seeds.h"

namespace potluck::sim {
namespace {

using simulate::nanoseconds;
using simulate::StageCost;
using namespace std::chrono_literals;

constexpr std::uint64_t kSeeds = 1000;
constexpr double kLeastRatio = 0.97;
constexpr double kMostFairShares = 2;

const std::array<std::vector<double>, 3> kShapes = {{{1}, {1, 1, 1, 1}, {1, 2, 4}}};
constexpr std::array<const char*, 3> kShapeNames = {"1", "1:1:1:1", "1:2:4"};
constexpr std::array<std::size_t, 3> kUsers = {1, 8, 64};

/// From `low` up over `octaves` doublings, each of them as likely as the others.
nanoseconds draw_time(Random& random, nanoseconds low, std::uint64_t octaves) {
    const double factor = 1 + static_cast<double>(random.below(1000)) / 1000;
    return nanoseconds(static_cast<std::int64_t>(
        static_cast<double>(low.count() << random.below(octaves)) * factor));
}

/// A line, or what memory-bound devices do: nearly flat up to some rows, then a line.
StageCost draw_cost(Random& random) {
    const nanoseconds base = draw_time(random, 500us, 5);
    const nanoseconds per_row = std::min(draw_time(random, 8us, 8), base);
    const double per_key = static_cast<double>(random.below(20));
    if (random.one_in(2)) return StageCost::linear(base, per_row, per_key);
    const std::size_t knee = std::size_t{4} << random.below(4);
    const nanoseconds at_knee = base + base / 10;
    // A row never costs more in a large batch than in a small one: or no batching were the best.
    const nanoseconds steep = std::min(per_row, at_knee / static_cast<std::int64_t>(knee));
    return {.knots = {{1, base},
                      {knee, at_knee},
                      {2 * knee, at_knee + steep * static_cast<std::int64_t>(knee)}},
            .per_key_ns = per_key};
}

simulate::SimulationOptions draw_pipeline(Random& random, const std::vector<double>& shape) {
    simulate::SimulationOptions options;
    const StageCost cost = draw_cost(random);
    for (const double factor : shape)
        options.pipeline.stages.push_back(cost.scaled(factor));
    constexpr std::array<double, 4> kMegabits = {1000, 2500, 10000, 0};
    const simulate::LinkCost link{.delay = draw_time(random, 50us, 4),
                                  .bytes_per_second = kMegabits[random.below(4)] * 1e6 / 8};
    options.pipeline.links.assign(shape.size() + 1, link);
    options.pipeline.activation_bytes = static_cast<double>(2048 << random.below(4));
    options.limits.max_in_flight = coordinator::most_in_flight(shape.size());
    return options;
}

std::string describe(const simulate::PipelineModel& pipeline) {
    const auto& cost = pipeline.stages.front();
    std::string out = "stage 0:";
    for (const auto& [rows, time] : cost.knots)
        out += fmt::format(" {} rows {} us,", rows, time.count() / 1000);
    return out + fmt::format(" {} ns/key; link {} us, {:.0f} Mbit, {:.0f} bytes/row",
                             cost.per_key_ns, pipeline.links[0].delay.count() / 1000,
                             pipeline.links[0].bytes_per_second * 8 / 1e6,
                             pipeline.activation_bytes);
}

std::string again(std::uint64_t seed, const char* test) {
    return fmt::format("again: POTLUCK_SIM_SEED={} bin/scale_test --gtest_filter={}\n", seed, test);
}

struct Tally {
    std::uint64_t runs = 0, below = 0;
    double worst = 1e9, sum = 0;

    void add(double value, bool bad) {
        ++runs;
        sum += value;
        below += bad ? 1 : 0;
        worst = std::min(worst, value);
    }
};

TEST(SchedulerScale, DecodesAsFastAsTheBestConstantMicroBatching) {
    const Seeds seeds(kSeeds);
    const bool all = std::getenv("POTLUCK_SIM_ALL") != nullptr;
    std::array<std::array<Tally, 3>, 3> tallies;
    int shown = 0;
    for (std::uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
        for (std::size_t each = 0; each < 9; ++each) {
            if (!all && each != seed % 9) continue;
            const std::size_t shape = each % 3, users = each / 3;
            Random random(mix(seed, 5));
            const auto options = draw_pipeline(random, kShapes[shape]);
            const auto result = compare_micro_batching(options, {.users = kUsers[users]});
            ASSERT_TRUE(result) << result.error().message;
            const bool bad = result->ratio() < kLeastRatio;
            tallies[shape][users].add(result->ratio(), bad);
            if (!bad || ++shown > 5) continue;
            ADD_FAILURE() << fmt::format(
                "seed {}, {} users over {}: {:.3f} of {} constant micro-batches, {:.1f} rows per "
                "batch\n  {}\n{}",
                seed, kUsers[users], kShapeNames[shape], result->ratio(),
                result->best.micro_batches, result->rows_per_batch, describe(options.pipeline),
                again(seed, "SchedulerScale.Decodes*"));
        }
    }
    fmt::print("shape      users  runs  mean   least  below {}\n", kLeastRatio);
    for (std::size_t shape = 0; shape < 3; ++shape) {
        for (std::size_t users = 0; users < 3; ++users) {
            const Tally& t = tallies[shape][users];
            if (t.runs == 0) continue;
            fmt::print("{:<10} {:>5} {:>5}  {:.3f}  {:.3f}  {}\n", kShapeNames[shape],
                       kUsers[users], t.runs, t.sum / static_cast<double>(t.runs), t.worst,
                       t.below);
            EXPECT_EQ(t.below, 0U) << kUsers[users] << " users over " << kShapeNames[shape];
        }
    }
}

simulate::SimulationOptions draw_users(Random& random, std::uint64_t seed) {
    auto options = draw_pipeline(random, kShapes[random.below(3)]);
    auto& w = options.workload;
    w.seed = seed;
    w.users = kUsers[random.below(3)];
    w.prompt = std::size_t{16} << random.below(7);
    w.answer = std::size_t{8} << random.below(4);
    w.spread = static_cast<simulate::Spread>(random.below(3));
    w.think = draw_time(random, 20ms, 8);
    w.shared_prefix = random.one_in(2) ? 0 : 0.5;
    w.prefix_tokens = w.prompt / 2;
    w.continued = random.one_in(2) ? 0 : 0.3;
    w.tenants = 1 + random.below(3);
    options.limits.context = w.context;
    options.limits.slots = w.users;
    options.limits.kv_pages = w.users * w.context / options.limits.page_tokens;
    options.duration = 6s;
    options.warm_up = 1s;
    return options;
}

TEST(SchedulerScale, NoFirstTokenIsStarved) {
    const Seeds seeds(kSeeds);
    std::uint64_t first_tokens = 0, runs_late = 0, late = 0;
    double worst = 0;
    int shown = 0;
    for (std::uint64_t seed = seeds.first; seed <= seeds.last; ++seed) {
        Random random(mix(seed, 6));
        const auto options = draw_users(random, seed);
        const auto result = simulate::simulate(options);
        ASSERT_TRUE(result) << "seed " << seed << ": " << result.error().message;
        EXPECT_EQ(result->answered, result->asked) << "seed " << seed;
        first_tokens += result->first_token.count;
        late += result->fair_share.late;
        worst = std::max(worst, result->fair_share.worst);
        runs_late += result->fair_share.late > 0 ? 1U : 0U;
        if (result->fair_share.worst <= kMostFairShares || ++shown > 50) continue;
        ADD_FAILURE() << fmt::format(
            "seed {}: {} of {} first tokens took over 2 fair shares, the worst {:.2f}; {} users "
            "over {} stages, prompts of {}, answers of {}\n  {}\n{}",
            seed, result->fair_share.late, result->first_token.count, result->fair_share.worst,
            options.workload.users, options.pipeline.stages.size(), options.workload.prompt,
            options.workload.answer, describe(options.pipeline),
            again(seed, "SchedulerScale.NoFirst*"));
    }
    fmt::print("{} first tokens, {} in {} runs over 2 fair shares, the worst {:.2f}\n",
               first_tokens, late, runs_late, worst);
    EXPECT_EQ(runs_late, 0U);
    if (seeds.chosen) return;
    EXPECT_GT(first_tokens, 50'000U);
}

// 1 to 16 stages of any speeds, 1 to 512 users, few slots and pages: everybody is answered.
TEST(SchedulerScale, EverybodyIsAnswered) {
    const Seeds seeds(kSeeds);
    const std::uint64_t last = seeds.chosen ? seeds.last : 100;
    std::uint64_t answered = 0, most_waiting = 0;
    for (std::uint64_t seed = seeds.first; seed <= last; ++seed) {
        Random random(mix(seed, 7));
        std::vector<double> shape;
        for (std::uint64_t n = random.between(1, 16); n > 0; --n)
            shape.push_back(static_cast<double>(random.between(2, 16)) / 8);
        auto options = draw_pipeline(random, shape);
        auto& w = options.workload;
        w.seed = seed;
        w.users = random.between(1, 512);
        w.prompt = random.between(1, 300);
        w.answer = random.between(1, 60);
        w.think = draw_time(random, 50ms, 6);
        w.continued = 0.3;
        w.context = 1024;
        options.limits.context = w.context;
        options.limits.slots = random.between(1, 64);
        options.limits.kv_pages = random.between(16, 256);
        options.scheduler.queue_limit = 512;
        options.duration = 3s;
        options.warm_up = 500ms;
        const auto result = simulate::simulate(options);
        ASSERT_TRUE(result) << "seed " << seed << ": " << result.error().message;
        EXPECT_EQ(result->answered + result->refused, result->asked)
            << again(seed, "SchedulerScale.Everybody*");
        answered += result->answered;
        most_waiting = std::max<std::uint64_t>(most_waiting, result->waiting_max);
    }
    fmt::print("{} answered, at most {} waiting\n", answered, most_waiting);
    if (seeds.chosen) return;
    EXPECT_GT(answered, 5000U);
    EXPECT_GT(most_waiting, 100U);
}

}  // namespace
}  // namespace potluck::sim
