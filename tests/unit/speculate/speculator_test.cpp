#include "coordinator/speculate/speculator.h"

#include <gmock/gmock.h>

#include "coordinator/speculate/attention.h"
#include "coordinator/speculate/debt_account.h"
#include "coordinator/speculate/draft_choice.h"
#include "tests/support/random_text.h"
#include "tests/support/replay.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

struct Taught {
    std::vector<TokenId> prompt = random_text(1, 40);
    std::vector<TokenId> answer;
    std::unique_ptr<Speculation> speculation;

    explicit Taught(std::size_t tokens, SpeculatorOptions options = {}) {
        answer = random_text(2, tokens);
        options.test_drafters = true;
        speculation = make_speculator(options);
        // The forced drafter learns from an answer that was made without drafts.
        const auto plain = replay(*speculation, 1, TenantId{}, prompt, answer, "off");
        EXPECT_EQ(plain.drafted, 0U);
        EXPECT_EQ(plain.report.arm, "off");
    }
    Replayed run(const std::string& choice, const ReplayCosts& costs = {}) {
        return replay(*speculation, 2, TenantId{}, prompt, answer, choice, costs);
    }
};

TEST(Speculator, KnowsWhatARequestMayAskFor) {
    const auto plain = make_speculator({});
    for (const char* choice : {"auto", "off", "suffix", "ngram_mod", "ngram_cache", "stage"})
        EXPECT_TRUE(plain->knows(choice)) << choice;
    for (const char* choice : {"", "forced", "Suffix", "suffix:1", "auto:1", "off:"})
        EXPECT_FALSE(plain->knows(choice)) << choice;
    const auto tests = make_speculator({.test_drafters = true});
    for (const char* choice : {"forced", "forced:0", "forced:0.7", "forced:adversarial"})
        EXPECT_TRUE(tests->knows(choice)) << choice;
    for (const char* choice : {"forced:", "forced:1.1", "forced:-1", "forced:x", "forced:0.5 "})
        EXPECT_FALSE(tests->knows(choice)) << choice;
}

TEST(Speculator, WhoIsAlwaysRightSoonDraftsLong) {
    Taught taught(1000);
    const auto r = taught.run("forced", {.per_row = 0.02});
    EXPECT_EQ(r.tokens, 999U);
    EXPECT_GE(r.speedup(), 15);
    EXPECT_EQ(r.report.drafted_at.size(), 64U);
    // Few rounds until drafts are as long as they may be.
    EXPECT_LE(r.rounds, 999U / 65 + 12);
    EXPECT_LT(r.report.debt, 0ns);
    EXPECT_THAT(r.report.arm, testing::StartsWith("forced"));
}

TEST(Speculator, WhoIsNeverRightLosesNoMoreThanTheBound) {
    for (const double per_row : {0.01, 0.1, 0.5, 2.0}) {
        Taught taught(3000);
        const auto r = taught.run("forced:0", {.per_row = per_row});
        EXPECT_GT(r.drafted, 0U) << per_row;
        EXPECT_EQ(r.report.accepted, 0U);
        EXPECT_LE(r.took - r.plain, std::max<nanoseconds>(20ms, r.took / 100)) << per_row;
    }
}

TEST(Speculator, TheAdversaryIsLeftSoon) {
    for (const double per_row : {0.01, 0.1, 0.5}) {
        Taught taught(3000);
        const auto r = taught.run("forced:adversarial", {.per_row = per_row});
        EXPECT_GE(r.report.accepted, 40U);
        // Never behind plain by more than the bound at any moment, and it won 64 tokens before.
        EXPECT_LE(r.worst, std::max<nanoseconds>(20ms, r.took / 100)) << per_row;
        EXPECT_LE(r.took - r.plain, std::max<nanoseconds>(20ms, r.took / 100)) << per_row;
    }
}

TEST(Speculator, RowsThatCostATokenEachAreNotDrafted) {
    Taught taught(300);
    // The second time the pool knows every token, yet a row costs as much as a round.
    taught.run("auto", {.per_row = 0.05});
    const auto dear = taught.run("auto", {.per_row = 1.0});
    EXPECT_EQ(dear.drafted, 0U);
    EXPECT_EQ(dear.report.arm, "off");
    EXPECT_THAT(dear.report.why, testing::HasSubstr("cost"));
    const auto cheap = taught.run("auto", {.per_row = 0.05});
    EXPECT_GT(cheap.drafted, 0U);
}

TEST(Speculator, ManyUsersRaiseThePrice) {
    // With 64 users in a round, a row that holds all of them up by a tenth must bring 6.4 tokens.
    Taught taught(300);
    taught.run("auto", {.per_row = 0.05});
    EXPECT_EQ(taught.run("auto", {.per_row = 0.1, .users = 64}).drafted, 0U);
    EXPECT_GT(taught.run("auto", {.per_row = 0.001, .users = 64}).drafted, 0U);
}

TEST(Speculator, TheSameRequestAgainIsMuchFaster) {
    Taught taught(200);
    const auto first = taught.run("auto", {.per_row = 0.05});
    EXPECT_LE(first.drafted, 20U);  // random tokens: nothing to go by
    EXPECT_GE(first.speedup(), 0.99);
    const auto second = taught.run("auto", {.per_row = 0.05});
    EXPECT_GE(second.speedup(), 4);
}

TEST(Speculator, OtherTenantsGainNothing) {
    Taught taught(200);
    taught.run("auto", {.per_row = 0.05});
    const auto other = replay(*taught.speculation, 9, TenantId{7}, taught.prompt, taught.answer,
                              "auto", {.per_row = 0.05});
    EXPECT_EQ(other.report.accepted, 0U);
}

TEST(Speculator, TheSameCallsGiveTheSameDrafts) {
    Taught a(500), b(500);
    for (const char* choice : {"forced:0.7", "auto"}) {
        const auto x = a.run(choice), y = b.run(choice);
        EXPECT_EQ(x.took, y.took);
        EXPECT_EQ(x.report.drafted_at, y.report.drafted_at);
    }
}

TEST(Speculator, DepthsAreCounted) {
    Taught taught(300);
    const auto r = taught.run("forced:0.5", {.per_row = 0.02});
    std::uint64_t drafted = 0, accepted = 0;
    for (const auto n : r.report.drafted_at)
        drafted += n;
    for (const auto n : r.report.accepted_at)
        accepted += n;
    EXPECT_EQ(drafted, r.report.drafted);
    EXPECT_EQ(accepted, r.report.accepted);
    EXPECT_EQ(r.report.drafted, r.drafted);
    EXPECT_EQ(r.tokens, r.rounds + accepted);
}

TEST(Speculator, ALongPromptIsReadInPieces) {
    const auto speculation = make_speculator({});
    const auto prompt = random_text(5, 9000);
    speculation->begin(1, TenantId{}, prompt, "auto");
    const std::vector<nanoseconds> together{10ms, 10ms, 10ms, 10ms, 10ms};
    const SpeculationCosts costs{.plain = 10ms, .slowest = 10ms, .together = together};
    // The answer copies the prompt from its 100th token on.
    std::size_t first = 0;
    for (std::size_t i = 0; i < 40 && first == 0; ++i) {
        speculation->observe(1, std::span(prompt).subspan(100 + i, 1));
        if (!speculation->propose(1, {}, 4, costs).tokens.empty()) first = i;
    }
    EXPECT_GE(first, 1U);
    EXPECT_LE(first, 15U);
}

TEST(Speculator, StrangersAndLatecomersAreIgnored) {
    const auto speculation = make_speculator({});
    const std::vector<TokenId> tokens{1, 2, 3};
    speculation->observe(4, tokens);
    speculation->verdict(4, {.drafted = 1});
    speculation->proposed_by_stage(4, tokens);
    EXPECT_TRUE(speculation->propose(4, {}, 4, {}).tokens.empty());
    EXPECT_EQ(speculation->end(4).rounds, 0U);
}

/// What the scheduler does ahead: keeps the window full, and takes all back at a wrong token.
TEST(Speculator, AheadItKeepsTheWindowFull) {
    Taught taught(200);
    auto& s = *taught.speculation;
    s.begin(2, TenantId{}, taught.prompt, "forced");
    const std::vector<nanoseconds> together{40ms, 80ms};
    const SpeculationCosts costs{.plain = 40ms, .slowest = 10ms, .together = together, .window = 4};
    const auto answer = std::span<const TokenId>(taught.answer);
    s.observe(2, answer.first(1));
    auto draft = s.propose(2, {}, 3, costs);
    EXPECT_EQ(draft.shape, DraftShape::kAhead);
    EXPECT_THAT(draft.tokens, testing::ElementsAreArray(answer.subspan(1, 3)));
    for (std::size_t i = 1; i < 100; ++i) {
        s.observe(2, answer.subspan(i, 1));
        s.verdict(2, {.drafted = 1,
                      .accepted = 1,
                      .shape = DraftShape::kAhead,
                      .took = i == 1 ? 40ms : 10ms,
                      .plain = 40ms});
        draft = s.propose(2, answer.subspan(i + 1, 2), 2, costs);
        ASSERT_EQ(draft.shape, DraftShape::kAhead);
        ASSERT_THAT(draft.tokens, testing::ElementsAre(answer[i + 3]));
        EXPECT_TRUE(s.propose(2, answer.subspan(i + 1, 3), 5, costs).tokens.empty());
    }
    const auto report = s.end(2);
    EXPECT_EQ(report.arm, "forced ahead");
    EXPECT_LT(report.debt, -2s);
}

/// In a window of two nothing is under way behind a job that was right: it follows all the same.
TEST(Speculator, AheadInAWindowOfTwoItGoesOn) {
    Taught taught(200);
    auto& s = *taught.speculation;
    s.begin(2, TenantId{}, taught.prompt, "forced");
    const std::vector<nanoseconds> together{60ms, 120ms};
    const SpeculationCosts costs{.plain = 60ms, .slowest = 30ms, .together = together, .window = 2};
    const auto answer = std::span<const TokenId>(taught.answer);
    s.observe(2, answer.first(1));
    EXPECT_EQ(s.propose(2, {}, 1, costs).tokens.size(), 1U);
    for (std::size_t i = 1; i < 100; ++i) {
        s.observe(2, answer.subspan(i, 1));
        s.verdict(2, {.drafted = 1,
                      .accepted = 1,
                      .shape = DraftShape::kAhead,
                      .took = i == 1 ? 60ms : 30ms,
                      .plain = 60ms});
        const auto draft = s.propose(2, {}, 1, costs);
        ASSERT_EQ(draft.shape, DraftShape::kAhead) << i;
        ASSERT_THAT(draft.tokens, testing::ElementsAre(answer[i + 1])) << i;
    }
    s.end(2);
}

TEST(DraftChoice, TheBestLengthIsWhereOneMoreRowBringsLess) {
    std::vector<nanoseconds> together;
    for (int k = 0; k <= 32; ++k)
        together.push_back(10ms + k * 1ms);
    const SpeculationCosts costs{.plain = 10ms, .slowest = 10ms, .together = together};
    const BetLimits limits{.most = 32, .allowance = 1s};
    for (const double p : {0.3, 0.6, 0.8, 0.95}) {
        const std::vector<Chance> chances(32, {p, p});
        const Bet bet = bet_together(chances, costs, {}, limits);
        double best = 1, expected = 1, survives = 1;
        std::size_t length = 0;
        for (std::size_t k = 1; k <= 32; ++k) {
            survives *= p;
            expected += survives;
            const double gain = expected * 10 / (10 + static_cast<double>(k));
            if (gain > best) {
                best = gain;
                length = k;
            }
        }
        EXPECT_EQ(bet.length, length) << p;
        EXPECT_NEAR(bet.gain, best, 1e-9);
    }
}

TEST(DraftChoice, TheLowerBoundDecidesWhetherAtAll) {
    const std::vector<nanoseconds> together{10ms, 13ms};
    const SpeculationCosts costs{.plain = 10ms, .slowest = 10ms, .together = together};
    const BetLimits limits{.most = 8, .allowance = 1s};
    EXPECT_EQ(bet_together(std::vector<Chance>{{0.5, 0.2}}, costs, {}, limits).length, 0U);
    EXPECT_EQ(bet_together(std::vector<Chance>{{0.5, 0.36}}, costs, {}, limits).length, 1U);
    EXPECT_EQ(
        bet_together(std::vector<Chance>{{0.5, 0.36}}, costs, {}, {.most = 8, .allowance = 2ms})
            .length,
        0U);
}

TEST(DraftChoice, AheadFollowsTheLawOfAFilledPipeline) {
    EXPECT_EQ(window_of(1), 1U);
    EXPECT_EQ(window_of(3.99), 4U);
    EXPECT_EQ(window_of(4.05), 4U);  // a fifth job would bring nothing that can be seen
    EXPECT_EQ(window_of(4.31), 5U);
    const SpeculationCosts costs{.plain = 40ms, .slowest = 10ms, .window = 4};
    const BetLimits limits{.most = 10, .allowance = 1ms};
    for (const double a : {0.3, 0.5, 0.7, 0.9}) {
        const Bet bet = bet_ahead(std::vector<Chance>(9, {a, a}), costs, {}, limits);
        EXPECT_EQ(bet.length, 3U);
        EXPECT_EQ(bet.job, 1U);
        EXPECT_NEAR(bet.gain, 4 / (4 * (1 - a) + a), 1e-9) << a;
    }
    EXPECT_EQ(bet_ahead(std::vector<Chance>(9, {0.1, 0.05}), costs, {}, limits).length, 0U);
}

TEST(DraftChoice, JobsAheadHaveSeveralRowsWhereRowsAreCheapAndSure) {
    // Three stages; a row more costs a tenth of a step.
    std::vector<nanoseconds> together, slowest_of;
    for (int k = 0; k <= 32; ++k) {
        together.push_back(30ms + k * 3ms);
        slowest_of.push_back(10ms + k * 1ms);
    }
    const SpeculationCosts costs{.plain = 30ms,
                                 .slowest = 10ms,
                                 .together = together,
                                 .slowest_of = slowest_of,
                                 .window = 3};
    const BetLimits limits{.most = 32, .allowance = 1s};
    const std::vector<Chance> sure(32, {0.98, 0.97});
    const Bet many = bet_ahead(sure, costs, {}, limits);
    EXPECT_GE(many.job, 8U);
    EXPECT_GT(many.gain, bet_together(sure, costs, {}, limits).gain);
    const std::vector<Chance> unsure(32, {0.15, 0.12});
    EXPECT_EQ(bet_ahead(unsure, costs, {}, limits).job, 1U);
    // What does not fit the allowance, and what would hold up others, is not risked.
    EXPECT_EQ(bet_ahead(sure, costs, {}, {.most = 32, .allowance = 2ms}).job, 1U);
    SpeculationCosts busy = costs;
    busy.users = 2;
    EXPECT_EQ(bet_ahead(sure, busy, {}, limits).job, 1U);
}

TEST(DraftChoice, WhatJobsReallyTookDecidesWhetherTheyGoAhead) {
    const SpeculationCosts costs{.plain = 40ms, .slowest = 10ms, .window = 4};
    const BetLimits limits{.most = 10, .allowance = 1ms};
    const std::vector<Chance> chances(9, {0.6, 0.5});
    CostCorrections corrections;
    EXPECT_GT(bet_ahead(chances, costs, corrections, limits).gain, 1.5);
    // Stages that share their cores: jobs hinder one another.
    for (int i = 0; i < 50; ++i) {
        corrections.begins.observe(1, 55ms, 40ms);
        corrections.follows.observe(1, 28ms, 10ms);
    }
    EXPECT_EQ(bet_ahead(chances, costs, corrections, limits).length, 0U);
}

TEST(DraftChoice, WhatWrongJobsLeaveBehindMakesThemDear) {
    const SpeculationCosts costs{.plain = 40ms, .slowest = 10ms, .window = 4};
    const std::vector<Chance> chances(9, {0.3, 0.25});
    CostCorrections corrections;
    const Bet before = bet_ahead(chances, costs, corrections, {.most = 10, .allowance = 80ms});
    EXPECT_GT(before.length, 0U);
    for (int i = 0; i < 100; ++i)
        corrections.observe_behind_wrong(20ms, 40ms);
    // Each wrong job costs half a round: 40 ms become 60.
    const Bet after = bet_ahead(chances, costs, corrections, {.most = 10, .allowance = 80ms});
    EXPECT_LT(after.gain, before.gain);
    EXPECT_EQ(after.length, 0U);
    // It is risked by nobody who may lose less.
    const std::vector<Chance> sure(9, {0.98, 0.97});
    EXPECT_GT(bet_ahead(sure, costs, corrections, {.most = 10, .allowance = 80ms}).length, 0U);
    EXPECT_EQ(bet_ahead(sure, costs, corrections, {.most = 10, .allowance = 10ms}).length, 0U);
}

TEST(Attention, GrowsRareWhileNothingPaysAndWakesAtALongerMatch) {
    Attention attention;
    std::size_t looks = 0;
    for (std::uint64_t position = 0; position < 2000; ++position) {
        if (!attention.looks(position, 1)) continue;
        ++looks;
        attention.in_vain(position, 1);
    }
    EXPECT_GT(looks, 50U);
    EXPECT_LT(looks, 90U);
    EXPECT_FALSE(attention.looks(2000, 4));
    EXPECT_TRUE(attention.looks(2000, 5));
    // A copy that does not pay is looked at each time that it has doubled.
    looks = 0;
    for (std::uint64_t i = 0; i < 60; ++i) {
        const auto strength = static_cast<std::uint32_t>(5 + i);
        if (!attention.looks(2001 + i, strength)) continue;
        ++looks;
        attention.in_vain(2001 + i, strength);
    }
    EXPECT_LE(looks, 5U);
    attention.hit();
    EXPECT_TRUE(attention.looks(2062, 0));
}

TEST(DebtAccount, PausesDoubleAndEarlyGainsAreCapped) {
    DebtAccount debt;
    EXPECT_EQ(debt.allowance(10ms), 10ms);
    debt.round(50ms, 10ms, 20, true);
    EXPECT_EQ(debt.debt(), -20ms);  // two rounds, though 150 ms were won
    EXPECT_EQ(debt.total(), -150ms);
    EXPECT_EQ(debt.allowance(10ms), 30ms);
    debt.round(60ms, 10ms, 1, true);
    EXPECT_FALSE(debt.open());
    EXPECT_EQ(debt.allowance(10ms), 0ns);
    debt.came(16);
    EXPECT_FALSE(debt.open());  // the pause is over, the debt is not
    for (int i = 0; i < 200; ++i)
        debt.round(10ms, 10ms, 1, false);
    EXPECT_EQ(debt.bound(), 21100us);
    for (int i = 0; i < 1000; ++i)
        debt.round(10ms, 10ms, 1, false);
    EXPECT_TRUE(debt.open());
}

}  // namespace
}  // namespace potluck::coordinator
