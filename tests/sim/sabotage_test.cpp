// A test that cannot fail proves nothing: each of these mistakes must be seen.

#include <gtest/gtest.h>

#include "tests/sim/cluster.h"

namespace potluck::sim {
namespace {

struct Mistake {
    const char* name;
    Sabotage kind;
    /// Of the runs in which it was made, how many of a hundred must be noticed at least. Less than
    /// all where it may hit a request whose client hung up before the next token.
    std::uint64_t noticed_percent;
};

class Mistakes : public ::testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, AreNoticed) {
    std::uint64_t made = 0;
    std::uint64_t noticed = 0;
    for (std::uint64_t seed = 1; seed <= 80; ++seed) {
        const Outcome outcome = run_and_compare(random_scenario(seed), GetParam().kind);
        const bool counts = GetParam().kind == Sabotage::kForgetCopies ? outcome.copied_pages > 0
                                                                       : outcome.sabotaged > 0;
        if (!counts) {
            EXPECT_TRUE(outcome.problems.empty()) << "seed " << seed;
            continue;
        }
        ++made;
        if (!outcome.problems.empty()) ++noticed;
    }
    EXPECT_GE(made, 10U);
    EXPECT_GE(noticed * 100, made * GetParam().noticed_percent) << noticed << " of " << made;
}

// Drafts that are taken back are what truncates without a release: forgetting one is always
// noticed.
TEST(MistakesWithDrafts, AreNoticed) {
    for (const auto kind : {Sabotage::kDropTruncate, Sabotage::kStaleActivation}) {
        std::uint64_t made = 0;
        std::uint64_t noticed = 0;
        for (std::uint64_t seed = 1; seed <= 80; ++seed) {
            const Outcome outcome = run_and_compare(random_drafts(seed), kind);
            if (outcome.sabotaged == 0) continue;
            ++made;
            if (!outcome.problems.empty()) ++noticed;
        }
        EXPECT_GE(made, 10U);
        EXPECT_GE(noticed * 100, made * 70) << noticed << " of " << made;
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, Mistakes,
    ::testing::Values(Mistake{"SwappedActivations", Sabotage::kSwapActivations, 85},
                      Mistake{"FlippedBit", Sabotage::kFlipBit, 85},
                      Mistake{"StaleActivation", Sabotage::kStaleActivation, 85},
                      Mistake{"DroppedFork", Sabotage::kDropFork, 85},
                      Mistake{"ShortFork", Sabotage::kShortFork, 85},
                      Mistake{"DroppedRelease", Sabotage::kDropRelease, 100},
                      Mistake{"ForgottenSeed", Sabotage::kForgetSeed, 85},
                      Mistake{"DroppedResult", Sabotage::kDropResult, 85},
                      Mistake{"ForgottenCopies", Sabotage::kForgetCopies, 85},
                      Mistake{"ForkedStranger", Sabotage::kForkStranger, 85},
                      Mistake{"ForgottenHistory", Sabotage::kForgetHistory, 85},
                      Mistake{"SpoiltSharedPlace", Sabotage::kSpoilShared, 85},
                      // Forks from what is too long are still right: only the pages tell, if it
                      // was not released before the end and the stage had none to spare.
                      Mistake{"DroppedTruncate", Sabotage::kDropTruncate, 30}),
    [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace potluck::sim
