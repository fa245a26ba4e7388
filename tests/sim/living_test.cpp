// Machines are lost and come back in the middle of answers. Whatever happens, every request ends
// once, with the oracle's tokens. A failure prints its seed and how to run it again.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "tests/sim/living_cluster.h"
#include "tests/support/seeds.h"

namespace potluck::sim {
namespace {

constexpr std::uint64_t kSeeds = 400;

std::string report(std::uint64_t seed, const Outcome& outcome, const char* test) {
    return fmt::format(
        "seed {}:\n  {}\nagain: POTLUCK_SIM_SEED={} bin/sim_test --gtest_filter=Losses.{}\n", seed,
        fmt::join(outcome.problems, "\n  "), seed, test);
}

TEST(Losses, ChangeNoAnswer) {
    const Seeds seeds(kSeeds);
    std::uint64_t answered = 0;
    std::uint64_t pipelines = 0;
    std::uint64_t losses = 0;
    std::uint64_t recomputed = 0;
    std::uint64_t refilled = 0;
    std::uint64_t kept = 0;
    int failures = 0;
    for (std::uint64_t seed = seeds.first; seed <= seeds.last && failures < 3; ++seed) {
        const Outcome outcome = live_and_compare(random_life(seed));
        if (!outcome.problems.empty()) {
            ++failures;
            ADD_FAILURE() << report(seed, outcome, "ChangeNoAnswer");
        }
        for (const auto& [id, log] : outcome.clients)
            answered += !log.hung_up && !log.error ? 1U : 0U;
        pipelines += outcome.of(Seen::kPipelines);
        losses += outcome.of(Seen::kLosses);
        recomputed += outcome.of(Seen::kRecomputed);
        refilled += outcome.of(Seen::kRefilled);
        kept += outcome.of(Seen::kKept);
    }
    fmt::print(
        "{} answered, {} pipelines, {} losses, {} rows fed again ({} not computed by the "
        "later stages), {} kept by all stages\n",
        answered, pipelines, losses, recomputed, refilled, kept);
    if (seeds.count() < kSeeds) return;
    EXPECT_GT(answered, 2000U);
    EXPECT_GT(losses, kSeeds);
    EXPECT_GT(recomputed, 5000U);
    EXPECT_GT(refilled, 500U);
    EXPECT_GT(kept, 500U);
}

// Whatever is drafted when a machine is lost is nobody's token.
TEST(Losses, WithDraftsChangeNoAnswer) {
    const Seeds seeds(kSeeds);
    FakeDraftLog drafts;
    std::uint64_t losses = 0;
    std::uint64_t pauses = 0;
    std::uint64_t hung_up = 0;
    int failures = 0;
    for (std::uint64_t seed = seeds.first; seed <= seeds.last && failures < 3; ++seed) {
        const Outcome outcome = live_and_compare(random_life_with_drafts(seed));
        if (!outcome.problems.empty()) {
            ++failures;
            ADD_FAILURE() << report(seed, outcome, "WithDraftsChangeNoAnswer");
        }
        for (const auto& [id, log] : outcome.clients)
            hung_up += log.hung_up ? 1U : 0U;
        drafts.add(outcome.drafts);
        losses += outcome.of(Seen::kLosses);
        pauses += outcome.counters.pauses;
    }
    fmt::print(
        "{} drafted, {} accepted, {} rounds together, {} ahead, {} of them of several drafts, {} "
        "losses, {} pauses, {} hung up\n",
        drafts.drafted, drafts.accepted, drafts.rounds_together, drafts.rounds_ahead,
        drafts.long_jobs, losses, pauses, hung_up);
    if (seeds.count() < kSeeds) return;
    EXPECT_GT(losses, kSeeds);
    EXPECT_GT(drafts.rounds_together, 1000U);
    EXPECT_GT(drafts.rounds_ahead, 1000U);
    EXPECT_GT(drafts.long_jobs, 300U);
    EXPECT_GT(drafts.accepted, 2000U);
}

TEST(Losses, EqualSeedsMakeEqualEvents) {
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        EXPECT_EQ(live_and_compare(random_life(seed)).event_hash,
                  live_and_compare(random_life(seed)).event_hash)
            << "seed " << seed;
    }
}

struct Guard {
    const char* name;
    Neglect neglect;
};
class Guards : public ::testing::TestWithParam<Guard> {};

// A test that cannot fail proves nothing: without any one of these guards some life goes wrong.
TEST_P(Guards, AreNeeded) {
    std::uint64_t wrong = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed)
        wrong += live_and_compare(random_life(seed), GetParam().neglect).problems.empty() ? 0U : 1U;
    EXPECT_GT(wrong, 0U);
}

INSTANTIATE_TEST_SUITE_P(All, Guards,
                         ::testing::Values(Guard{"FreshMemory", Neglect::kOldMemory},
                                           Guard{"Heartbeats", Neglect::kHeartbeat},
                                           Guard{"KeptPages", Neglect::kKeptPages}),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace potluck::sim
