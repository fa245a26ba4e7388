// Clusters of old and new nodes: each link speaks the highest version that its two ends know, the
// text is the same, and a node with which there is none is told so.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/cluster/home.h"
#include "tests/support/wire_v2.h"

namespace potluck::test {
namespace {

using proto::WireVersions;
using ::testing::Each;
using ::testing::HasSubstr;

const char* const kPrompt = "def add(a, b):";
constexpr std::uint32_t kTokens = 24;

/// The text of three workers that speak these versions, and which of the pipeline's four links
/// spoke the second.
struct Outcome {
    std::string text;
    std::vector<bool> spoke_v2;
    std::vector<bool> expected;
};

bool speaks_v2(WireVersions versions) {
    return versions.max() == 2;
}

Outcome run(WireVersions coordinator, const std::map<std::string, WireVersions>& workers) {
    wire_v2_log.clear();
    Home home({.workers = 3, .wire = coordinator});
    for (const auto& [name, versions] : workers)
        home.add_worker(name, {.wire = versions});
    EXPECT_TRUE(home.run_until_ready()) << home.status();
    Outcome outcome{.text = home.complete(kPrompt, kTokens), .spoke_v2 = {}, .expected = {}};
    const auto& stages = home.stages();
    EXPECT_EQ(stages.size(), 3U);
    for (std::size_t to = 0; to <= stages.size(); ++to) {
        const auto end = [&](std::size_t stage) {
            return stage < stages.size() ? workers.at(stages[stage]) : coordinator;
        };
        const WireVersions from = to == 0 ? coordinator : end(to - 1);
        outcome.expected.push_back(speaks_v2(from) && speaks_v2(end(to)));
        outcome.spoke_v2.push_back(wire_v2_log.written[to] > 0);
        EXPECT_EQ(wire_v2_log.written[to] > 0, wire_v2_log.read[to] > 0) << "to stage " << to;
    }
    return outcome;
}

TEST(MixedVersions, EveryLinkSpeaksTheHighestCommonOneAndTheTextIsTheSame) {
    const WireVersions old(kOld);
    const WireVersions both(kBoth);
    const auto all_old = run(old, {{"attic", old}, {"cellar", old}, {"desk", old}});
    ASSERT_FALSE(all_old.text.starts_with("error")) << all_old.text;
    EXPECT_THAT(all_old.spoke_v2, Each(false));
    const auto all_new = run(both, {{"attic", both}, {"cellar", both}, {"desk", both}});
    EXPECT_THAT(all_new.spoke_v2, Each(true));
    EXPECT_EQ(all_new.text, all_old.text);
    for (const char* the_old_one : {"attic", "cellar", "desk"}) {
        std::map<std::string, WireVersions> workers = {
            {"attic", both}, {"cellar", both}, {"desk", both}};
        workers.insert_or_assign(the_old_one, old);
        const auto mixed = run(both, workers);
        EXPECT_EQ(mixed.text, all_old.text) << the_old_one;
        EXPECT_EQ(mixed.spoke_v2, mixed.expected) << the_old_one;
        EXPECT_THAT(mixed.spoke_v2, ::testing::Contains(true));
        EXPECT_THAT(mixed.spoke_v2, ::testing::Contains(false));
    }
    // An old coordinator holds its own two links back, not those between new workers.
    const auto old_coordinator = run(old, {{"attic", both}, {"cellar", both}, {"desk", both}});
    EXPECT_EQ(old_coordinator.text, all_old.text);
    EXPECT_THAT(old_coordinator.spoke_v2, ::testing::ElementsAre(false, true, true, false));
}

TEST(MixedVersions, WhoHasNoCommonOneIsToldBothRangesAndTheOthersServe) {
    testing::internal::CaptureStderr();
    {
        Home home({.workers = 1, .wire = WireVersions(kOld)});
        home.add_worker("future", {.wire = WireVersions(kNew)});
        home.run_until([] { return false; }, std::chrono::seconds(1));  // it tries again and again
        EXPECT_THAT(home.status(), HasSubstr("waiting for workers"));
        home.add_worker("attic");
        ASSERT_TRUE(home.run_until_ready()) << home.status();
        EXPECT_EQ(home.stages(), std::vector<std::string>{"attic"});
        EXPECT_FALSE(home.complete(kPrompt, 4).starts_with("error"));
    }
    const std::string said = testing::internal::GetCapturedStderr();
    const std::string refusal =
        "future: no common wire version: this side speaks 1 to 1, the peer 2 "
        "to 2; update this side";
    EXPECT_THAT(said, HasSubstr(refusal));
    EXPECT_EQ(said.find("refused: " + refusal + " ("), said.rfind("refused: " + refusal + " ("))
        << said;
}

}  // namespace
}  // namespace potluck::test
