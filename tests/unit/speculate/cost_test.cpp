// What drafting does per token where there is nothing to draft. Times are bench_drafting's.

#include <gtest/gtest.h>

#include "coordinator/speculate/speculator.h"
#include "coordinator/speculate/timed_speculation.h"
#include "tests/support/counting_new.h"
#include "tests/support/random_text.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

/// Rounds of one token each; how often drafts' costs had to be found out.
std::size_t decode(Speculation& speculation, std::uint64_t number,
                   std::span<const TokenId> answer) {
    const std::vector<nanoseconds> together(65, 20ms);
    const SpeculationCosts costs{.plain = 20ms, .slowest = 20ms, .together = together};
    std::size_t asked = 0;
    for (std::size_t i = 0; i < answer.size(); ++i) {
        if (speculation.considers(number, 64) > 0) {
            ++asked;
            EXPECT_TRUE(speculation.propose(number, {}, 64, costs).tokens.empty());
        }
        speculation.observe(number, answer.subspan(i, 1));
        speculation.verdict(number, {.took = 20ms, .plain = 20ms});
    }
    return asked;
}

TEST(DraftingCost, FreshTextAllocatesOnlyWhereTablesGrow) {
    const auto speculation = make_speculator({});
    const auto prompt = random_text(1, 300, 1 << 30);
    const auto answer = random_text(2, 4000, 1 << 30);
    speculation->begin(1, TenantId{}, prompt, "auto");
    decode(*speculation, 1, std::span(answer).first(100));
    const std::size_t before = allocations();
    const std::size_t asked = decode(*speculation, 1, std::span(answer).subspan(100));
    EXPECT_LE(allocations() - before, 40U);  // doublings of a dozen vectors
    EXPECT_LE(asked, 10U);
    EXPECT_EQ(speculation->end(1).drafted, 0U);
}

/// As the coordinator has it: with a clock around it.
TEST(DraftingCost, WhoIsTimedIsAskedNoMoreOften) {
    const auto speculation = time_speculation(make_speculator({}), [] { return nanoseconds{}; });
    const auto answer = random_text(2, 4000, 1 << 30);
    speculation->begin(1, TenantId{}, random_text(1, 300, 1 << 30), "auto");
    decode(*speculation, 1, std::span(answer).first(100));
    EXPECT_LE(decode(*speculation, 1, std::span(answer).subspan(100)), 10U);
}

TEST(DraftingCost, WhoIsOffIsNotListenedTo) {
    const auto speculation = make_speculator({});
    const auto text = random_text(1, 300);
    speculation->begin(1, TenantId{}, text, "off");
    const std::size_t before = allocations();
    EXPECT_EQ(decode(*speculation, 1, text), 0U);
    EXPECT_LE(allocations() - before, 1U);
}

}  // namespace
}  // namespace potluck::coordinator
