// The figures that a request's report has.

#include <gmock/gmock.h>

#include "coordinator/speculate/drafter.h"
#include "coordinator/speculate/speculator.h"
#include "coordinator/speculate/timed_speculation.h"
#include "tests/support/random_text.h"
#include "tests/support/replay.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kNumber = 7;

/// A speculator that knows an answer, in the middle of it.
std::unique_ptr<Speculation> begun() {
    auto speculation = make_speculator({.test_drafters = true});
    const auto prompt = random_text(1, 40), answer = random_text(2, 60);
    replay(*speculation, 1, TenantId{}, prompt, answer, "off");
    speculation->begin(kNumber, TenantId{}, prompt, "forced");
    return speculation;
}

TEST(Report, RoundsAndTheirTime) {
    const auto speculation = begun();
    // Without a draft: nothing is reported of it.
    speculation->verdict(kNumber, {.took = 10ms, .plain = 10ms});
    // All right, 2 of 4, none of 1; a plain round takes 10 ms.
    speculation->verdict(kNumber, {.drafted = 2, .accepted = 2, .took = 11ms, .plain = 10ms});
    speculation->verdict(kNumber, {.drafted = 4, .accepted = 2, .took = 14ms, .plain = 10ms});
    speculation->verdict(kNumber, {.drafted = 1, .accepted = 0, .took = 12ms, .plain = 10ms});
    // Shorter than a plain one: nothing was taken for what was wrong.
    speculation->verdict(kNumber, {.drafted = 1, .accepted = 0, .took = 9ms, .plain = 10ms});
    const auto report = speculation->end(kNumber);
    EXPECT_EQ(report.rounds, 4U);
    EXPECT_EQ(report.drafted, 8U);
    EXPECT_EQ(report.accepted, 4U);
    EXPECT_THAT(report.drafted_at, testing::ElementsAre(4, 2, 1, 1));
    EXPECT_THAT(report.accepted_at, testing::ElementsAre(2, 2));
    EXPECT_EQ(report.verify, 46ms);
    EXPECT_EQ(report.rollback, 2ms + 2ms);  // half of 4 ms, all of 2 ms
    // (11 − 30) + (14 − 30) + (12 − 10) + (9 − 10)
    EXPECT_EQ(report.debt, -34ms);
    EXPECT_EQ(report.draft, 0ns);
}

TEST(Report, SaysWhoDraftedAndWhy) {
    auto speculation = make_speculator({.test_drafters = true});
    const auto prompt = random_text(1, 40), answer = random_text(2, 200);
    EXPECT_EQ(replay(*speculation, 1, TenantId{}, prompt, answer, "off").report.reason, "none");
    const auto told = replay(*speculation, 2, TenantId{}, prompt, answer, "forced").report;
    EXPECT_EQ(told.drafter, "forced");
    EXPECT_EQ(told.reason, "pays");
    // There is a guess, but rows are dear.
    const auto again = std::vector<TokenId>(60, 7);
    const auto dear =
        replay(*speculation, 3, TenantId{}, prompt, again, "auto", {.per_row = 1}).report;
    EXPECT_EQ(dear.drafter, "off");
    EXPECT_EQ(dear.reason, "costs");
    const auto new_text =
        replay(*speculation, 4, TenantId{1}, prompt, random_text(3, 200), "auto").report;
    EXPECT_EQ(new_text.drafter, "off");
    EXPECT_THAT(new_text.reason, testing::AnyOf("no_idea", "unsure"));
}

TEST(TimedSpeculation, TimesEveryCallAndChangesNoDraft) {
    nanoseconds now{};
    // Every look at the clock is a microsecond later.
    const auto timed =
        time_speculation(make_speculator({.test_drafters = true}), [&] { return now += 1us; });
    const auto plain = make_speculator({.test_drafters = true});
    const auto prompt = random_text(1, 40), answer = random_text(2, 100);
    for (std::uint64_t number = 1; number <= 3; ++number) {
        const char* choice = number == 1 ? "off" : "forced:0.7";
        const auto a = replay(*timed, number, TenantId{}, prompt, answer, choice);
        const auto b = replay(*plain, number, TenantId{}, prompt, answer, choice);
        EXPECT_EQ(a.drafted, b.drafted);
        EXPECT_EQ(a.took, b.took);
        EXPECT_EQ(a.report.arm, b.report.arm);
        // begin, the first token, end; and of each round propose, observe, verdict.
        EXPECT_EQ(a.report.draft, (3 + 3 * a.rounds) * 1us);
        EXPECT_EQ(b.report.draft, 0ns);
    }
    EXPECT_TRUE(timed->knows("forced:0.7"));
    EXPECT_FALSE(timed->knows("psychic"));
}

}  // namespace
}  // namespace potluck::coordinator
