// The promise that the split never changes the answer, under random delays, queues, chunks,
// neighbours and hang-ups. A failure prints its seed and how to run it again.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/sim/cluster.h"
#include "tests/support/seeds.h"

namespace potluck::sim {
namespace {

constexpr std::uint64_t kSeeds = 1000;

std::string report(std::uint64_t seed, const Outcome& outcome,
                   const char* test = "AreTheOraclesForEverySeed") {
    return fmt::format(
        "seed {}:\n  {}\nagain: POTLUCK_SIM_SEED={} bin/sim_test --gtest_filter=Answers.{}\n", seed,
        fmt::join(outcome.problems, "\n  "), seed, test);
}

TEST(Answers, AreTheOraclesForEverySeed) {
    const Seeds seeds(kSeeds);
    std::uint64_t answered = 0;
    std::uint64_t refused = 0;
    std::uint64_t hung_up = 0;
    std::uint64_t tokens = 0;
    std::uint64_t copies = 0;
    std::uint64_t waited = 0;
    std::uint64_t pauses = 0;
    std::uint64_t hits = 0;
    std::uint64_t evictions = 0;
    std::uint64_t cached = 0;
    int failures = 0;
    for (std::uint64_t seed = seeds.first; seed <= seeds.last && failures < 3; ++seed) {
        const Outcome outcome = run_and_compare(random_scenario(seed));
        if (!outcome.problems.empty()) {
            ++failures;
            ADD_FAILURE() << report(seed, outcome);
        }
        for (const auto& [id, log] : outcome.clients) {
            ++(log.hung_up ? hung_up : log.error ? refused : answered);
            tokens += log.usage.completion_tokens;
        }
        copies += outcome.copied_pages;
        waited += outcome.most_queued > 0 ? 1 : 0;
        pauses += outcome.counters.pauses;
        hits += outcome.counters.prefix_hits;
        evictions += outcome.counters.evictions;
        cached += outcome.counters.rows_from_cache;
    }
    fmt::print(
        "{} answered with {} tokens, {} refused, {} hung up, {} pages copied, {} seeds with "
        "queues, {} pauses, {} shared beginnings with {} tokens, {} evictions\n",
        answered, tokens, refused, hung_up, copies, waited, pauses, hits, cached, evictions);
    if (seeds.count() < kSeeds) return;
    // The scenarios are worth something only if all of this happened often.
    EXPECT_GT(answered, 4000U);
    EXPECT_GT(tokens, 40'000U);
    EXPECT_GT(refused, 100U);
    EXPECT_GT(hung_up, 500U);
    EXPECT_GT(copies, 500U);
    EXPECT_GT(waited, 100U);
    EXPECT_GT(pauses, 100U);
    EXPECT_GT(hits, 500U);
    EXPECT_GT(evictions, 500U);
}

// The same promise with drafts that are right or wrong, together and ahead, among pauses, shared
// beginnings and hang-ups.
TEST(Answers, WithDraftsAreTheOraclesForEverySeed) {
    const Seeds seeds(kSeeds);
    FakeDraftLog drafts;
    std::uint64_t answered = 0;
    std::uint64_t hung_up = 0;
    std::uint64_t pauses = 0;
    std::uint64_t hits = 0;
    std::uint64_t drafted = 0;
    std::uint64_t accepted = 0;
    std::uint64_t junk = 0;
    std::uint64_t from_stage = 0;
    int failures = 0;
    for (std::uint64_t seed = seeds.first; seed <= seeds.last && failures < 3; ++seed) {
        const Outcome outcome = run_and_compare(random_drafts(seed));
        if (!outcome.problems.empty()) {
            ++failures;
            ADD_FAILURE() << report(seed, outcome, "WithDraftsAreTheOraclesForEverySeed");
        }
        for (const auto& [id, log] : outcome.clients)
            ++(log.hung_up ? hung_up : answered);
        drafts.add(outcome.drafts);
        drafted += outcome.counters.rows_drafted;
        accepted += outcome.counters.rows_accepted;
        from_stage += outcome.drafts.from_stage.size();
        pauses += outcome.counters.pauses;
        hits += outcome.counters.prefix_hits;
        junk += outcome.junk_rows;
    }
    fmt::print(
        "{} answered, {} hung up, {} rows drafted, {} accepted, {} not computed, {} rounds "
        "together, {} ahead, {} of them of several drafts, at most {} ahead at once, {} pauses, {} "
        "shared beginnings\n",
        answered, hung_up, drafted, accepted, junk, drafts.rounds_together, drafts.rounds_ahead,
        drafts.long_jobs, drafts.longest_under_way, pauses, hits);
    if (seeds.count() < kSeeds) return;
    EXPECT_GT(answered, 4000U);
    EXPECT_GT(hung_up, 500U);
    EXPECT_GT(accepted, 5000U);
    EXPECT_GT(drafted, accepted + 5000);
    EXPECT_GT(drafts.rounds_together, 2000U);
    EXPECT_GT(drafts.rounds_ahead, 2000U);
    EXPECT_GT(drafts.long_jobs, 1000U);
    EXPECT_GT(drafts.longest_under_way, 2U);
    EXPECT_GT(junk, 500U);
    EXPECT_GT(from_stage, 5000U);
    EXPECT_GT(pauses, 100U);
    EXPECT_GT(hits, 500U);
}

TEST(Answers, TwoStagesComputeAtTheSameTimeForTwoClients) {
    const Outcome outcome = run_and_compare(two_and_two(1));
    ASSERT_TRUE(outcome.problems.empty()) << report(1, outcome);
    // Two sequences in two batches: but for the links' delays both stages always have work.
    const double share = static_cast<double>(outcome.several_busy.count()) /
                         static_cast<double>(outcome.any_busy.count());
    EXPECT_GT(share, 0.8) << outcome.several_busy.count() << " of " << outcome.any_busy.count();
}

TEST(Answers, OneBatchInFlightNeverOverlaps) {
    Scenario scenario = two_and_two(1);
    scenario.limits.max_in_flight = 1;
    const Outcome outcome = run_and_compare(scenario);
    ASSERT_TRUE(outcome.problems.empty()) << report(1, outcome);
    EXPECT_EQ(outcome.several_busy.count(), 0);
    EXPECT_EQ(outcome.most_queued, 0U);
}

TEST(Answers, EqualSeedsMakeEqualEvents) {
    std::set<std::uint64_t> hashes;
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        const auto once = run_and_compare(random_scenario(seed)).event_hash;
        EXPECT_EQ(once, run_and_compare(random_scenario(seed)).event_hash) << "seed " << seed;
        hashes.insert(once);
    }
    EXPECT_EQ(hashes.size(), 30U);
}

// The same requests, whatever the pipeline: the oracle is the same, so it is enough to be right.
TEST(Answers, DoNotDependOnTheShapeOfThePipeline) {
    std::string first;
    for (std::size_t stages = 1; stages <= 6; ++stages) {
        Scenario scenario = two_and_two(3);
        scenario.layers.assign(stages, 1);
        scenario.layers.back() = static_cast<LayerIndex>(7 - stages);
        scenario.limits.stages = stages;
        scenario.limits.max_in_flight = stages + 1;
        const Outcome outcome = run_and_compare(scenario);
        EXPECT_TRUE(outcome.problems.empty()) << report(3, outcome);
        const auto& text = outcome.clients.at(RequestId(1)).choices.at(0).text;
        if (stages == 1) first = text;
        EXPECT_EQ(text, first);
    }
}

TEST(Answers, ASecondPromptIsComputedOnlyFromWhereItDiffersOnEveryStage) {
    const Scenario scenario = shared_beginning(1000, 20);
    const Outcome outcome = run_and_compare(scenario);
    ASSERT_TRUE(outcome.problems.empty()) << report(1, outcome);
    EXPECT_EQ(outcome.clients.at(RequestId(1)).usage.cached_tokens, 0U);
    EXPECT_EQ(outcome.clients.at(RequestId(2)).usage.cached_tokens, 1000U);
    // Both prompts once, the shared part once, and all tokens of the answers but the last.
    ASSERT_EQ(outcome.stage_rows.size(), 3U);
    for (const std::uint64_t rows : outcome.stage_rows)
        EXPECT_EQ(rows, 1020U + 20 + 5 + 5);
}

TEST(Answers, AnOverloadIsAnsweredOrRefusedAndLeavesNothing) {
    std::size_t answered = 0;
    std::size_t refused = 0;
    std::uint64_t pauses = 0;
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
        const Outcome outcome = run_and_compare(overload(seed));
        ASSERT_TRUE(outcome.problems.empty()) << report(seed, outcome);
        ASSERT_EQ(outcome.clients.size(), 200U);
        for (const auto& [id, log] : outcome.clients) {
            if (!log.error) {
                answered += log.endings == 1 ? 1U : 0U;
                continue;
            }
            ASSERT_EQ(log.error->code, ErrorCode::kResourceExhausted) << log.error->message;
            ++refused;
        }
        pauses += outcome.counters.pauses;
        EXPECT_LE(outcome.counters.replays, outcome.counters.pauses);
        EXPECT_LE(outcome.kept_sequences, 6U);
    }
    EXPECT_GT(answered, 500U);
    EXPECT_GT(refused, 500U);
    EXPECT_GT(pauses, 20U);
}

}  // namespace
}  // namespace potluck::sim
