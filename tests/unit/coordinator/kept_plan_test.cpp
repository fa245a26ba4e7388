// Which stages of a new plan find the pages that they had, and what becomes of a plan if they do
// not.

#include <gtest/gtest.h>

#include "coordinator/core/deployment.h"
#include "coordinator/core/recomputed.h"
#include "tests/support/small_plan.h"

namespace potluck::coordinator {
namespace {

constexpr std::uint64_t kMiB = 1U << 20;
constexpr LayerIndex kLayers = 12;

struct Part {
    std::uint32_t node;
    LayerIndex end;
    const char* arithmetic_class = "cpu-1";
};

Plan plan_of(const std::vector<Part>& parts) {
    Plan plan{.context = 512, .slots = 2, .kv_pages = 16, .page_tokens = 64};
    LayerIndex begin = 0;
    for (const auto& part : parts) {
        StagePlacement stage{.node = NodeId(part.node), .arithmetic_class = part.arithmetic_class};
        stage.part = {.begin = begin, .end = part.end};
        begin = part.end;
        plan.stages.push_back(stage);
    }
    return plan;
}

const std::vector<Part> kThree = {{1, 4}, {2, 8}, {3, 12}};
const std::set<NodeId> kEverybody = {NodeId(1), NodeId(2), NodeId(3), NodeId(4)};

struct Change {
    const char* name;
    std::vector<Part> after;
    LayerIndex from;
    std::set<NodeId> held = kEverybody;
    std::vector<Part> before = kThree;
};
class Changes : public ::testing::TestWithParam<Change> {};

TEST_P(Changes, KeepFrom) {
    const auto& c = GetParam();
    EXPECT_EQ(kept_from(plan_of(c.before), plan_of(c.after), c.held), c.from);
}

INSTANTIATE_TEST_SUITE_P(
    All, Changes,
    ::testing::Values(Change{"TheSame", kThree, 0},
                      Change{"TheSameButTheFirstWasAway", kThree, 4, {NodeId(2), NodeId(3)}},
                      Change{"TheSameButTheLastWasAway", kThree, 12, {NodeId(1), NodeId(2)}},
                      Change{"ASpareTakesTheFirstPart", {{4, 4}, {2, 8}, {3, 12}}, 4},
                      Change{"ASpareTakesTheMiddle", {{1, 4}, {4, 8}, {3, 12}}, 8},
                      Change{"ASpareTakesTheLastPart", {{1, 4}, {2, 8}, {4, 12}}, 12},
                      Change{"TheFirstIsLost", {{2, 6}, {3, 12}}, 8},
                      Change{"TheMiddleIsLost", {{1, 6}, {3, 12}}, 8},
                      Change{"TheLastIsLost", {{1, 6}, {2, 12}}, 12},
                      Change{"OneLayerMovesForward", {{1, 5}, {2, 8}, {3, 12}}, 5},
                      Change{"OneLayerMovesBack", {{1, 3}, {2, 8}, {3, 12}}, 4},
                      Change{"StagesAreOne", {{3, 12}}, 8},
                      Change{"APartIsDivided", {{1, 4}, {2, 6}, {4, 8}, {3, 12}}, 8},
                      Change{"AnotherClassInFront", {{4, 4, "gpu-1"}, {2, 8}, {3, 12}}, 12},
                      Change{"TheSameOfTwoClasses",
                             {{1, 4, "gpu-1"}, {2, 8}, {3, 12}},
                             0,
                             kEverybody,
                             {{1, 4, "gpu-1"}, {2, 8}, {3, 12}}}),
    [](const auto& instance) { return instance.param.name; });

TEST(KeptFrom, MemoryOfAnotherShapeIsNotKept) {
    const Plan before = plan_of(kThree);
    for (auto* change :
         {+[](Plan& p) { ++p.kv_pages; }, +[](Plan& p) { p.page_tokens = 32; },
          +[](Plan& p) { p.context = 500; }, +[](Plan& p) { p.kv.v = KvType::kQ8_0; }}) {
        Plan after = before;
        change(after);
        EXPECT_EQ(kept_from(before, after, kEverybody), kLayers);
    }
}

TEST(RecomputedRows, AreCountedByStage) {
    // Layers 4..7 move to another device, and half of the last stage's are new to it.
    Plan plan = plan_of({{1, 4}, {4, 6}, {3, 10}, {5, 12}});
    plan.kept_from = 8;
    const auto all = by_stage({.rows = 110, .refilled = 100, .kept = 0}, plan);
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(all[0].rows, 110U);
    EXPECT_EQ(all[0].layers, 440U);
    EXPECT_EQ(all[1].layers, 220U);
    EXPECT_EQ(all[2].rows, 110U);
    EXPECT_EQ(all[2].layers, 10U * 4 + 100U * 2);
    EXPECT_EQ(all[3].rows, 10U);
    EXPECT_EQ(all[3].layers, 20U);
}

/// Three nodes of equal memory, and a fourth that comes later.
class Keeping : public ::testing::Test {
  protected:
    Keeping() : deployment_({.workers = 3}, small_footprint(kLayers, kMiB), small_config(kLayers)) {
        for (std::uint32_t node = 1; node <= 3; ++node)
            join(node);
        go_on();
    }
    const Plan& plan() const { return *deployment_.plan(); }
    void join(std::uint32_t node) {
        NodeOffer offer{.node = NodeId(node),
                        .name = std::string(1, static_cast<char>('a' + node))};
        offer.devices.push_back({"cpu", "cpu-1", 1000 * kMiB});
        actions_.clear();
        deployment_.on_node_joined(std::move(offer), actions_);
    }
    void leave(std::uint32_t node) {
        actions_.clear();
        deployment_.on_node_left(NodeId(node), "gone", actions_);
    }
    void prepared(bool kept) {
        const Plan now = plan();
        for (std::size_t i = 0; i < now.stages.size(); ++i) {
            deployment_.on_prepared(
                now.epoch, now.stages[i].node, "",
                {{StageIndex(static_cast<std::uint32_t>(i)), now.kv_pages, kept}}, actions_);
        }
    }
    /// From prepared to ready.
    void go_on(bool kept = true) {
        prepared(kept);
        const Plan now = plan();
        for (const auto& stage : now.stages)
            deployment_.on_connected(now.epoch, stage.node, "", actions_);
        deployment_.on_links_open(now.epoch, actions_);
        EXPECT_EQ(deployment_.state(), DeploymentState::kWarming);
        deployment_.on_warm(now.epoch);
    }

    Deployment deployment_;
    DeploymentActions actions_;
};

TEST_F(Keeping, TheFirstPlanHasNothing) {
    EXPECT_EQ(plan().kept_epoch, Epoch(0));
    EXPECT_EQ(kept_pages(plan()), KeptPages::kNone);
}

TEST_F(Keeping, APlanKeepsWhatTheOneBeforeHad) {
    const Epoch first = plan().epoch;
    leave(1);
    EXPECT_EQ(plan().kept_epoch, first);
    EXPECT_EQ(plan().kept_from, 8U);
    EXPECT_EQ(kept_pages(plan()), KeptPages::kLater);
    go_on();
    const Epoch second = plan().epoch;
    deployment_.on_failure(second, {ErrorCode::kPeerLost, "a link broke"}, actions_);
    deployment_.on_time(std::chrono::seconds(1), false, actions_);
    EXPECT_EQ(plan().kept_epoch, second);
    EXPECT_EQ(kept_pages(plan()), KeptPages::kAll);
}

TEST_F(Keeping, ANodeThatWasAwayHasNothing) {
    deployment_.on_failure(plan().epoch, {ErrorCode::kPeerLost, "a link broke"}, actions_);
    leave(3);
    join(3);
    deployment_.on_time(std::chrono::seconds(2), false, actions_);
    ASSERT_TRUE(deployment_.plan());
    EXPECT_EQ(kept_pages(plan()), KeptPages::kNone);
}

TEST_F(Keeping, ANodeThatIsOutOfUseIsAsGoodAsLost) {
    const Epoch first = plan().epoch;
    deployment_.on_absence(NodeId(1), "drained", actions_);
    EXPECT_EQ(plan().stages.size(), 2U);
    EXPECT_EQ(plan().kept_epoch, first);
    EXPECT_EQ(plan().kept_from, 8U);
    EXPECT_EQ(kept_pages(plan()), KeptPages::kLater);
}

TEST_F(Keeping, APlanThatCameToNothingTakesThePagesWithIt) {
    leave(1);
    EXPECT_EQ(kept_pages(plan()), KeptPages::kLater);
    leave(2);
    EXPECT_EQ(plan().stages.size(), 1U);
    EXPECT_EQ(kept_pages(plan()), KeptPages::kNone);
}

TEST_F(Keeping, WithoutThePagesThePlanIsMadeAgain) {
    leave(1);
    const Epoch second = plan().epoch;
    actions_.clear();
    prepared(false);
    EXPECT_GT(plan().epoch, second);
    EXPECT_EQ(kept_pages(plan()), KeptPages::kNone);
    ASSERT_EQ(actions_.size(), 1U);
    EXPECT_TRUE(std::holds_alternative<PrepareNodes>(actions_.front()));
    go_on(false);
    EXPECT_EQ(deployment_.state(), DeploymentState::kReady);
}

}  // namespace
}  // namespace potluck::coordinator
