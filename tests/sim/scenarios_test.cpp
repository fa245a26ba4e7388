// Every file of tests/sim/scenarios. The files share the seeds between them, one after another in
// turn; POTLUCK_SIM_SEED says which seeds, and a single one is played in whatever file is chosen.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "tests/sim/living_cluster.h"
#include "tests/support/seeds.h"
#include "tests/support/tiny_model.h"

namespace potluck::sim {
namespace {

constexpr std::uint64_t kSeeds = 20;  ///< of each file
/// Seeds whose events are compared with those of a second run.
constexpr std::uint64_t kRepeatOneIn = 10;
/// What is to be seen at least once is looked for in no fewer runs than this.
constexpr std::uint64_t kEnough = 10;

const std::vector<FaultScenario>& all_scenarios() {
    static const auto all = test::must(load_fault_scenarios());
    return all;
}

/// Of a file's test.
std::string test_name(std::size_t file) {
    std::string name = all_scenarios()[file].name;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

/// Those of a file.
std::vector<std::uint64_t> seeds_of(std::size_t file) {
    const Seeds seeds(kSeeds * all_scenarios().size());
    std::vector<std::uint64_t> own;
    for (std::uint64_t seed = seeds.first; seed <= seeds.last; ++seed)
        if (seeds.count() == 1 || seed % all_scenarios().size() == file) own.push_back(seed);
    return own;
}

/// The parameter is a file's place among all.
class Scenarios : public ::testing::TestWithParam<std::size_t> {};

TEST_P(Scenarios, KeepTheirPromises) {
    const std::size_t file = GetParam();
    const FaultScenario& scenario = all_scenarios()[file];
    const auto seeds = seeds_of(file);
    const auto begin = std::chrono::steady_clock::now();
    SeenCounts seen{};
    std::uint64_t answered = 0;
    std::uint64_t unserved = 0;
    std::uint64_t events = 0;
    int failures = 0;
    std::uint64_t runs = 0;
    for (const std::uint64_t seed : seeds) {
        if (failures == 3) break;
        const LivingScenario life = live_through(scenario, seed);
        Outcome outcome = live_and_compare(life);
        if (runs++ % kRepeatOneIn == 0 && live_and_compare(life).event_hash != outcome.event_hash)
            outcome.problems.push_back("a second run had other events");
        for (const Seen what : scenario.never) {
            if (const auto times = outcome.of(what); times > 0)
                outcome.problems.push_back(fmt::format("{} {}", times, to_string(what)));
        }
        if (!outcome.problems.empty()) {
            ++failures;
            ADD_FAILURE() << fmt::format(
                "{}, seed {}:\n  {}\nagain: POTLUCK_SIM_SEED={} bin/sim_test "
                "--gtest_filter='*Scenarios.*/{}'\n",
                scenario.name, seed, fmt::join(outcome.problems, "\n  "), seed, test_name(file));
        }
        for (std::size_t i = 0; i < kSeenCount; ++i)
            seen[i] += outcome.seen[i];
        for (const auto& [id, log] : outcome.clients)
            ++(log.endings == 1 && !log.error ? answered : unserved);
        events += outcome.events;
    }
    std::string counts;
    for (std::size_t i = 0; i < kSeenCount; ++i) {
        if (seen[i] > 0) counts += fmt::format(", {} {}", seen[i], to_string(static_cast<Seen>(i)));
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    fmt::print("{} seeds, {} events, {:.1f} s, {} requests answered, {} not{}\n", seeds.size(),
               events, took.count(), answered, unserved, counts);
    if (seeds.size() < kEnough || failures > 0) return;
    EXPECT_GT(answered, 0U);
    for (const Seen what : scenario.expect)
        EXPECT_GT(seen[static_cast<std::size_t>(what)], 0U) << "no " << to_string(what);
}

INSTANTIATE_TEST_SUITE_P(All, Scenarios, ::testing::Range(std::size_t{0}, all_scenarios().size()),
                         [](const auto& instance) { return test_name(instance.param); });

}  // namespace
}  // namespace potluck::sim
