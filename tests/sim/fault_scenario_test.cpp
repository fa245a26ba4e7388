// What a scenario's text means, and how a wrong one is refused.

#include "tests/sim/fault_scenario.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_model.h"

namespace potluck::sim {
namespace {

using namespace std::chrono_literals;

TEST(FaultScenario, SaysWhatBefallsWhom) {
    const auto s = test::must(parse_fault_scenario(R"(# of a test
mode liveness
nodes 2..4
holders all
heal 300ms   # then it is over
within 2s
spread 250us
may-lose
expect losses rejected
never refused
newer
speaks node1 2..3
crash any at 5ms..7ms
slow node0 at 1ms for 2ms..3ms every 10ms times 7
drop coordinator <> any at 0ms one-in 9
cut any > node1 at 4ms stays
clock coordinator at 1ms by 90s
)",
                                                   "folder/small.scenario"));
    EXPECT_EQ(s.name, "small");
    EXPECT_EQ(s.mode, Mode::kLiveness);
    EXPECT_EQ(s.least_nodes, 2U);
    EXPECT_EQ(s.most_nodes, 4U);
    EXPECT_EQ(s.holders, 0U);
    EXPECT_EQ(s.heal, 300ms);
    EXPECT_EQ(s.within, 2s);
    EXPECT_EQ(s.spread, 250us);
    EXPECT_TRUE(s.may_lose);
    EXPECT_THAT(s.expect, ::testing::ElementsAre(Seen::kLosses, Seen::kRejected));
    EXPECT_THAT(s.never, ::testing::ElementsAre(Seen::kRefused));
    EXPECT_TRUE(s.newer);
    ASSERT_EQ(s.speaks.size(), 1U);
    EXPECT_EQ(s.speaks[0].max, 3U);
    ASSERT_EQ(s.faults.size(), 5U);
    EXPECT_EQ(s.faults[0].kind, FaultKind::kCrash);
    EXPECT_EQ(s.faults[0].who.index, Who::kAny);
    EXPECT_EQ(s.faults[0].at.min, 5ms);
    EXPECT_EQ(s.faults[0].at.max, 7ms);
    EXPECT_FALSE(s.faults[0].length || s.faults[0].every || s.faults[0].stays);
    EXPECT_EQ(s.faults[1].length->max, 3ms);
    EXPECT_EQ(s.faults[1].every->min, 10ms);
    EXPECT_EQ(s.faults[1].amount, 7U);
    EXPECT_EQ(s.faults[2].who.index, Who::kCoordinator);
    EXPECT_TRUE(s.faults[2].both_ways);
    EXPECT_EQ(s.faults[3].other.index, 1U);
    EXPECT_FALSE(s.faults[3].both_ways);
    EXPECT_TRUE(s.faults[3].stays);
    EXPECT_EQ(s.faults[4].by, 90s);
}

struct Wrong {
    const char* text;
    const char* message;
};

TEST(FaultScenario, IsRefusedWithItsFileAndLine) {
    static constexpr Wrong kTexts[] = {
        {"nodes 2\ncrsh any at 1ms", "f:2: 'crsh' is no setting and no fault"},
        {"nodes 4..2", "f:1: '4..2': the larger number comes first"},
        {"nodes 0", "f:1: '0' is no whole number from 1 to 8"},
        {"nodes 2\nhang node2 at 1ms", "f:2: there is no node2"},
        {"crash any at 5", "f:1: '5' is no duration"},
        {"crash any at 5ms..1ms", "the later time comes first"},
        {"crash any", "'at' is missing"},
        {"crash", "a machine is missing"},
        {"crash somebody at 1ms", "'somebody' is no machine"},
        {"crash coordinator at 1ms", "this does not befall the coordinator"},
        {"crash any at 1ms for 2ms", "'for' does not go with 'crash'"},
        {"restart any at 1ms", "'for' is missing"},
        {"slow any at 1ms", "'times' is missing"},
        {"slow any at 1ms times 0", "'0' is no whole number"},
        {"hang any at 1ms for 2ms stays", "contradict one another"},
        {"hang any at 1ms every 1us", "'every' is at least 1ms"},
        {"cut any any at 1ms", "'any' stands where '>' or '<>' belongs"},
        {"cut node0 > node0 at 1ms", "a link has two different ends"},
        {"nodes 1\ncut any > any at 1ms", "a link between two nodes needs two"},
        {"clock node0 at 1ms by 1s", "only the coordinator's core is told the time"},
        {"clock coordinator at 1ms", "'by' is missing"},
        {"clock coordinator at 1ms by -1s", "'-1s' is no duration"},
        {"join any at 1ms", "'join' needs one node by its name"},
        {"speaks any 1..2", "'speaks' needs one node by its name"},
        {"expect miracles", "'miracles' is nothing that is counted"},
        {"mode slow", "'slow' is no mode"},
        {"may-lose twice", "'twice' is too much"},
        {"crash any at 1ms\nnodes 3", "f:2: 'nodes' comes before what befalls them"},
        {"heal 1ms", "f: 'heal' and 'within' belong to mode liveness"},
        {"mode safety\nwithin 1ms\nlasts 1s", "f: 'heal' and 'within' belong to mode liveness"},
        {"mode safety", "f: 'lasts' belongs to mode safety"},
        {"heal 1ms\nwithin 1ms\nlasts 1s", "f: 'lasts' belongs to mode safety"},
        {"nodes 2\nholders 3\nheal 1ms\nwithin 1ms", "f: 'holders' are more than nodes"},
        {"mode safety\nlasts 1s\nhang any at 1ms stays", "f: 'stays' belongs to mode liveness"},
    };
    for (const auto& [text, message] : kTexts) {
        const auto parsed = parse_fault_scenario(text, "f");
        ASSERT_FALSE(parsed) << text;
        EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(parsed.error().message, ::testing::HasSubstr(message)) << text;
    }
}

}  // namespace
}  // namespace potluck::sim
