// The drafters and the controller on answers that a real model gave: what is to be gained by text.

#include <gtest/gtest.h>

#include <cstdio>

#include "coordinator/speculate/speculator.h"
#include "recorded.h"
#include "tests/support/replay.h"

namespace potluck::coordinator {
namespace {

using golden::RecordedAnswer;

struct Sum {
    double tokens_per_round = 0, speedup = 0, median = 0, least = 0, accepted = 0;
};

/// All prompts, each with a speculator that has seen nothing, or one after another with the same.
Sum all(const std::vector<RecordedAnswer>& answers, const std::string& choice, bool fresh,
        double per_row) {
    auto speculator = make_speculator({});
    std::vector<double> speedups;
    std::size_t tokens = 0, rounds = 0;
    std::uint64_t drafted = 0, accepted = 0, number = 0;
    nanoseconds took{}, plain{};
    for (const auto& a : answers) {
        if (fresh) speculator = make_speculator({});
        std::vector<TokenId> answer;
        for (const auto& step : a.steps)
            answer.push_back(step.id);
        const auto r = replay(*speculator, ++number, TenantId{}, a.prompt_tokens, answer, choice,
                              {.per_row = per_row});
        tokens += r.tokens;
        rounds += r.rounds;
        took += r.took;
        plain += r.plain;
        drafted += r.report.drafted;
        accepted += r.report.accepted;
        speedups.push_back(r.speedup());
        // Round times are as foretold here, so the account holds to the last nanosecond.
        EXPECT_LE(r.worst, std::max(nanoseconds(2 * std::chrono::milliseconds(10)), r.took / 100));
    }
    std::ranges::sort(speedups);
    return {
        static_cast<double>(tokens) / static_cast<double>(rounds),
        static_cast<double>(plain.count()) / static_cast<double>(took.count()),
        speedups[speedups.size() / 2], speedups.front(),
        static_cast<double>(accepted) / static_cast<double>(std::max<std::uint64_t>(drafted, 1))};
}

TEST(RecordedAnswers, EditsGainAndFreshTextLosesNothing) {
    if (golden::shared_data().empty()) GTEST_SKIP() << "../shared/golden is not there";
    const auto folder = golden::shared_data() / "golden";
    const auto read_edits = golden::read_answers(folder / "greedy-tiny-coder-f16-edit.json");
    const auto read_fresh = golden::read_answers(folder / "greedy-tiny-coder-f16-fresh.json");
    ASSERT_TRUE(read_edits && read_fresh);
    const auto& edits = *read_edits;
    const auto& fresh = *read_fresh;
    for (const double per_row : {0.02, 0.1, 0.25}) {
        for (const bool alone : {true, false}) {
            for (const char* choice : {"auto", "suffix", "ngram_mod", "ngram_cache"}) {
                const Sum e = all(edits, choice, alone, per_row);
                const Sum f = all(fresh, choice, alone, per_row);
                std::printf(
                    "row %.2f %-8s %-11s | edit %5.2f tok/round %5.2fx median %5.2f least "
                    "%4.2f acc %.2f | fresh %5.2f tok/round %5.3fx least %5.3f acc %.2f\n",
                    per_row, alone ? "alone" : "in turn", choice, e.tokens_per_round, e.speedup,
                    e.median, e.least, e.accepted, f.tokens_per_round, f.speedup, f.least,
                    f.accepted);
                if (choice == std::string("auto")) {
                    EXPECT_GE(f.speedup, 0.99);
                    if (per_row < 0.05) {
                        EXPECT_GE(e.median, 4);
                    }
                }
            }
        }
    }
}

}  // namespace
}  // namespace potluck::coordinator
