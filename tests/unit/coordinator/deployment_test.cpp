// The life of a cluster as tables of steps. An event is "join a", "leave a", "absent a: why" or
// "present a", "prepared 1 a",
// "progress 1 30", "connected 1 a", "links 1", "warm 1", "fail 1", "time 1500" (milliseconds),
// "quiet 1500" (the same, and nobody is there); numbers are epochs (progress: and percent), ":
// words" at the end is a problem. Expected: the actions, and the line for people.

#include "coordinator/core/deployment.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "tests/support/small_plan.h"

namespace potluck::coordinator {
namespace {

constexpr std::uint64_t kMiB = 1U << 20;

struct Step {
    std::string event;
    std::string actions;
    std::string status;
};

class Player {
  public:
    explicit Player(const DeploymentOptions& options)
        : deployment_(options, small_footprint(4, kMiB), small_config(4)) {}

    std::string play(const std::string& event) {
        const auto colon = event.find(": ");
        const std::string problem = colon == std::string::npos ? "" : event.substr(colon + 2);
        std::istringstream words(event.substr(0, colon));
        std::string verb;
        std::string name;
        std::uint64_t number = 0;
        words >> verb;
        if (verb != "join" && verb != "leave" && verb != "absent" && verb != "present")
            words >> number;
        words >> name;
        const Epoch epoch(number);
        const NodeId node(name.empty() ? 0U : static_cast<std::uint32_t>(name[0] - 'a' + 1));
        DeploymentActions actions;
        if (verb == "time" || verb == "quiet") {
            deployment_.on_time(std::chrono::milliseconds(number), verb == "quiet", actions);
        } else if (verb == "join") {
            NodeOffer offer{.node = node, .name = name, .address = name + ":9"};
            // A node whose name has a second letter brings too little.
            offer.devices.push_back({"cpu", "cpu-1", (name.size() > 1 ? 1 : 1000) * kMiB});
            if (name == "z") offer.last_epoch = 70;
            offer.absence = problem;
            deployment_.on_node_joined(std::move(offer), actions);
        } else if (verb == "leave") {
            deployment_.on_node_left(node, problem, actions);
        } else if (verb == "absent" || verb == "present") {
            deployment_.on_absence(node, problem, actions);
        } else if (verb == "prepared") {
            deployment_.on_prepared(epoch, node, problem, {{StageIndex(0), 5}}, actions);
        } else if (verb == "progress") {
            deployment_.on_progress(epoch, StageIndex(0), {std::stoull(name), 100});
        } else if (verb == "connected") {
            deployment_.on_connected(epoch, node, problem, actions);
        } else if (verb == "links") {
            deployment_.on_links_open(epoch, actions);
        } else if (verb == "warm") {
            deployment_.on_warm(epoch);
        } else if (verb == "fail") {
            deployment_.on_failure(epoch, {ErrorCode::kPeerLost, problem}, actions);
        } else {
            ADD_FAILURE() << "no such event: " << event;
        }
        std::string text;
        for (const auto& action : actions)
            text += (text.empty() ? "" : ", ") + words_of(action);
        return text;
    }
    const Deployment& deployment() const { return deployment_; }
    Deployment& deployment() { return deployment_; }

  private:
    /// " without cd"
    static std::string without(const std::vector<NodeId>& nodes) {
        std::string text = nodes.empty() ? "" : " without ";
        for (const NodeId node : nodes)
            text += static_cast<char>('a' + node.value - 1);
        return text;
    }
    /// "prepare 1 on a,b"
    static std::string words_of(const DeploymentAction& action) {
        const auto with_plan = [](const char* verb, const Plan& plan) {
            std::string text = fmt::format("{} {} on ", verb, plan.epoch.value);
            for (const auto& stage : plan.stages)
                text += static_cast<char>('a' + stage.node.value - 1);
            return text;
        };
        if (const auto* a = std::get_if<PrepareNodes>(&action))
            return with_plan("prepare", a->plan) + without(a->left_out);
        if (const auto* a = std::get_if<ConnectNodes>(&action))
            return with_plan("connect", a->plan);
        if (const auto* a = std::get_if<StartPipeline>(&action)) return with_plan("start", a->plan);
        const auto& stop = std::get<StopPipeline>(action);
        return (stop.planned ? "stop as planned: " : "stop: ") + stop.reason.message;
    }

    Deployment deployment_;
};

void expect_steps(Player& player, const std::vector<Step>& steps) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
        EXPECT_EQ(player.play(steps[i].event), steps[i].actions)
            << "step " << i << ": " << steps[i].event;
        EXPECT_EQ(player.deployment().status(), steps[i].status)
            << "step " << i << ": " << steps[i].event;
    }
}

const std::vector<Step> kToReady = {{"join a", "", "waiting for workers: 1 of 2"},
                                    {"join b", "prepare 1 on ab", "loading 0 %"},
                                    {"progress 1 30", "", "loading 30 %"},
                                    {"prepared 1 a", "", "loading 30 %"},
                                    {"prepared 1 b", "connect 1 on ab", "connecting the stages"},
                                    {"connected 1 a", "", "connecting the stages"},
                                    {"links 1", "", "connecting the stages"},
                                    {"connected 1 b", "start 1 on ab", "sending the first token"},
                                    {"warm 1", "", "ready"}};

struct Table {
    const char* name;
    std::size_t begin_after;  ///< steps of kToReady
    std::vector<Step> steps;
};
class Tables : public ::testing::TestWithParam<Table> {};

TEST_P(Tables, ArePlayed) {
    Player player({.workers = 2});
    const auto n = static_cast<std::ptrdiff_t>(GetParam().begin_after);
    expect_steps(player, {kToReady.begin(), kToReady.begin() + n});
    expect_steps(player, GetParam().steps);
}

const char* const kOneLeft = "waiting for workers: 1 of 2 (worker a is lost: unplugged)";

INSTANTIATE_TEST_SUITE_P(
    All, Tables,
    ::testing::Values(
        Table{"Ready", 9, {}},
        Table{"LinksLast",
              5,
              {{"connected 1 b", "", "connecting the stages"},
               {"connected 1 a", "", "connecting the stages"},
               {"links 1", "start 1 on ab", "sending the first token"}}},
        Table{"RepeatedAnswersChangeNothing",
              4,
              {{"prepared 1 a", "", "loading 30 %"},
               {"prepared 1 c", "", "loading 30 %"},
               {"prepared 1 b", "connect 1 on ab", "connecting the stages"},
               {"connected 1 a", "", "connecting the stages"},
               {"connected 1 a", "", "connecting the stages"},
               {"prepared 1 a", "", "connecting the stages"},
               {"warm 1", "", "connecting the stages"}}},
        Table{"LostWhileWaiting", 1, {{"leave a: unplugged", "", "waiting for workers: 0 of 2"}}},
        Table{"LostWhilePreparing",
              4,
              {{"leave a: unplugged", "stop: worker a is lost: unplugged", kOneLeft},
               {"prepared 1 b", "", kOneLeft},
               {"join c", "prepare 2 on bc", "loading 0 %"}}},
        Table{"LostWhileConnecting",
              6,
              {{"leave a: unplugged", "stop: worker a is lost: unplugged", kOneLeft},
               {"connected 1 b", "", kOneLeft},
               {"links 1", "", kOneLeft}}},
        Table{"LostWhileWarming",
              8,
              {{"leave a: unplugged", "stop: worker a is lost: unplugged", kOneLeft},
               {"warm 1", "", kOneLeft}}},
        Table{"LostWhenReadyAndBack",
              9,
              {{"leave a: unplugged", "stop: worker a is lost: unplugged, prepare 2 on b",
                "loading 0 %"},
               {"fail 1: late", "", "loading 0 %"},
               {"prepared 1 b", "", "loading 0 %"},  // late answers of the first epoch
               {"progress 1 90", "", "loading 0 %"},
               {"prepared 2 b", "connect 2 on b", "connecting the stages"},
               {"links 1", "", "connecting the stages"},
               {"connected 1 b", "", "connecting the stages"},
               {"connected 2 b", "", "connecting the stages"},
               {"links 2", "start 2 on b", "sending the first token"},
               {"warm 1", "", "sending the first token"},
               {"warm 2", "", "ready"},
               // It went soon after it had a part, so it is left out for a second.
               {"join a", "", "ready"},
               {"quiet 900", "", "ready"},
               {"time 1100", "", "ready"},  // somebody is being answered
               {"quiet 1200", "stop as planned: workers are being taken in, prepare 3 on ab",
                "loading 0 %"},
               {"prepared 3 a: not yet",
                "stop: worker a cannot load its part: not yet, prepare 4 on b without a",
                "loading 0 %"}}},
        Table{"AllAreLostAndOneComesBack",
              9,
              {{"time 40000", "", "ready"},
               {"leave a: unplugged", "stop: worker a is lost: unplugged, prepare 2 on b",
                "loading 0 %"},
               {"leave b: unplugged", "stop: worker b is lost: unplugged",
                "waiting for workers: 0 of 1 (worker b is lost: unplugged)"},
               {"join a", "prepare 3 on a", "loading 0 %"}}},
        Table{"ASpareTakesOver",
              9,
              {{"join c", "", "ready"},
               {"leave a: unplugged", "stop: worker a is lost: unplugged, prepare 2 on bc",
                "loading 0 %"}}},
        Table{"ASpareIsTakenInWhenItIsQuiet",
              9,
              {{"join c", "", "ready"},
               {"time 10", "", "ready"},
               {"quiet 20", "stop as planned: workers are being taken in, prepare 2 on abc",
                "loading 0 %"}}},
        Table{
            "ASpareMayLeave",
            9,
            {{"join c", "", "ready"}, {"leave c: tired", "", "ready"}, {"quiet 20", "", "ready"}}},
        // Four layers for five nodes: the fifth changes nothing, and nothing is stopped for it.
        Table{"ASpareThatChangesNothingIsLeftAlone",
              9,
              {{"join c", "", "ready"},
               {"join d", "", "ready"},
               {"quiet 20", "stop as planned: workers are being taken in, prepare 2 on abcd",
                "loading 0 %"},
               {"prepared 2 a", "", "loading 0 %"},
               {"prepared 2 b", "", "loading 0 %"},
               {"prepared 2 c", "", "loading 0 %"},
               {"prepared 2 d", "connect 2 on abcd", "connecting the stages"},
               {"connected 2 a", "", "connecting the stages"},
               {"connected 2 b", "", "connecting the stages"},
               {"connected 2 c", "", "connecting the stages"},
               {"connected 2 d", "", "connecting the stages"},
               {"links 2", "start 2 on abcd", "sending the first token"},
               {"warm 2", "", "ready"},
               {"join ex", "", "ready"},
               {"quiet 30", "", "ready"},
               {"quiet 40", "", "ready"}}},
        Table{"StrangersMayLeave", 9, {{"leave z: who", "", "ready"}}},
        Table{
            "AWorkerThatCannotLoadIsLeftOutForAWhile",
            3,
            {{"prepared 1 b: no such tensor", "stop: worker b cannot load its part: no such tensor",
              "cannot serve (worker b cannot load its part: no such tensor)"},
             {"prepared 1 a", "", "cannot serve (worker b cannot load its part: no such tensor)"},
             {"time 999", "", "cannot serve (worker b cannot load its part: no such tensor)"},
             {"time 1000", "prepare 2 on ab", "loading 0 %"},
             {"prepared 2 b: again", "stop: worker b cannot load its part: again",
              "cannot serve (worker b cannot load its part: again)"},
             {"time 2999", "", "cannot serve (worker b cannot load its part: again)"},
             // Others need not wait for it.
             {"join c", "prepare 3 on ac without b", "loading 0 %"}}},
        Table{"WhatFailsIsTriedAgainLaterAndLater",
              8,
              {{"fail 1: no token", "stop: no token", "cannot serve (no token)"},
               {"warm 1", "", "cannot serve (no token)"},
               {"time 99", "", "cannot serve (no token)"},
               {"time 100", "prepare 2 on ab", "loading 0 %"},
               {"fail 2: no token", "stop: no token", "cannot serve (no token)"},
               {"time 1099", "", "cannot serve (no token)"},
               {"time 1100", "prepare 3 on ab", "loading 0 %"},
               {"fail 3: no token", "stop: no token", "cannot serve (no token)"},
               {"time 3099", "", "cannot serve (no token)"},
               {"time 3100", "prepare 4 on ab", "loading 0 %"},
               {"fail 4: no token", "stop: no token", "cannot serve (no token)"},
               // A change is a reason to try at once.
               {"join c", "prepare 5 on abc", "loading 0 %"}}},
        Table{"AFailureEndsWithTheWorkerThatFailed",
              2,
              {{"join c", "", "loading 0 %"},
               {"fail 1: broken", "stop: broken", "cannot serve (broken)"},
               {"leave a: unplugged", "prepare 2 on bc", "loading 0 %"}}},
        Table{"ConnectingFails",
              5,
              {{"connected 1 a: b does not answer", "stop: b does not answer",
                "cannot serve (b does not answer)"},
               {"connected 1 b", "", "cannot serve (b does not answer)"},
               {"leave b: gone", "", "waiting for workers: 1 of 2 (b does not answer)"},
               {"join b", "prepare 2 on ab", "loading 0 %"}}},
        // A link that breaks is often the first sign of a node that is gone.
        Table{"ABrokenLinkIsFollowedByALoss",
              9,
              {{"time 40000", "", "ready"},
               {"fail 1: no link", "stop: no link", "cannot serve (no link)"},
               {"time 40050", "", "cannot serve (no link)"},
               {"leave b: gone", "prepare 2 on a", "loading 0 %"}}},
        Table{"EpochsAreLargerThanThoseThatWorkersHaveSeen",
              1,
              {{"join z", "prepare 71 on az", "loading 0 %"}}},
        Table{"AReadyPipelineThatBreaksIsMadeAnew",
              9,
              {{"time 40000", "", "ready"},
               {"fail 1: out of step", "stop: out of step", "cannot serve (out of step)"},
               {"fail 1: out of step", "", "cannot serve (out of step)"},
               {"time 40100", "prepare 2 on ab", "loading 0 %"}}}),
    [](const auto& instance) { return instance.param.name; });

TEST(Deployment, PlanningFailureIsToldAndTriedAgainAfterAChange) {
    Player player({.workers = 1, .plan = {.split = {2, 2}}});
    const char* const told = "cannot serve (the split 2,2 names 2 devices, the cluster has 1)";
    expect_steps(player, {{"join a", "", told},
                          {"fail 0: nothing", "", told},
                          {"warm 0", "", told},
                          {"join b", "prepare 1 on ab", "loading 0 %"}});
}

TEST(Deployment, ASplitForMoreDevicesGivesWayAfterALoss) {
    Player player({.workers = 2, .plan = {.split = {3, 1}}});
    for (const auto& step : kToReady)
        player.play(step.event);
    EXPECT_EQ(player.deployment().plan()->stages.front().part.end, 3U);
    EXPECT_EQ(player.play("leave a: gone"), "stop: worker a is lost: gone, prepare 2 on b");
    EXPECT_EQ(player.deployment().plan()->stages.front().part.end, 4U);
}

TEST(Deployment, SurvivorsThatCannotHoldTheModelWaitForOneMore) {
    Player player({.workers = 2});
    player.play("join a");
    EXPECT_EQ(player.play("join bx"), "");  // too little for its share
    EXPECT_THAT(player.deployment().status(), ::testing::HasSubstr("cannot serve (bx/0 cpu"));
    EXPECT_EQ(player.play("join c"), "");
    EXPECT_EQ(player.play("leave b: gone"), "prepare 1 on ac");
    for (const char* event : {"prepared 1 a", "prepared 1 c", "connected 1 a", "connected 1 c",
                              "links 1", "warm 1", "join bx", "time 40000"}) {
        player.play(event);
    }
    EXPECT_EQ(player.play("quiet 40001"), "") << "a plan that cannot be is no reason to stop";
    EXPECT_EQ(player.play("leave a: gone"), "stop: worker a is lost: gone");
    EXPECT_THAT(player.deployment().status(), ::testing::HasSubstr("cannot serve (bx/0 cpu"));
    EXPECT_EQ(player.play("leave b: gone"), "prepare 2 on c");
}

const char* const kOut = "stop as planned: worker a is out of use: drained";
const char* const kNobody = "waiting for workers: 1 of 2 (worker a is out of use: drained)";

INSTANTIATE_TEST_SUITE_P(
    Absences, Tables,
    ::testing::Values(
        Table{"LeaveThePlanAndComeBackWhenItIsQuiet",
              9,
              {{"absent a: drained",
                "stop as planned: worker a is out of use: drained, prepare 2 on b", "loading 0 %"},
               {"prepared 2 b", "connect 2 on b", "connecting the stages"},
               {"connected 2 b", "", "connecting the stages"},
               {"links 2", "start 2 on b", "sending the first token"},
               {"warm 2", "", "ready"},
               {"quiet 40000", "", "ready"},
               {"absent a: yields", "", "ready"},  // for another reason
               {"present a", "", "ready"},
               {"time 40010", "", "ready"},
               // It did nothing wrong: it need not wait.
               {"quiet 40020", "stop as planned: workers are being taken in, prepare 3 on ab",
                "loading 0 %"}}},
        Table{"OfAllLeaveNobody",
              9,
              {{"absent b: drained",
                "stop as planned: worker b is out of use: drained, prepare 2 on a", "loading 0 %"},
               {"absent a: drained", kOut,
                "waiting for workers: 0 of 1 (worker a is out of use: drained)"},
               {"time 40000", "", "waiting for workers: 0 of 1 (worker a is out of use: drained)"},
               {"present b", "prepare 3 on b", "loading 0 %"}}},
        Table{"WhilePreparing",
              4,
              {{"absent a: drained", kOut, kNobody},
               {"prepared 1 b", "", kNobody},
               {"join c", "prepare 2 on bc", "loading 0 %"}}},
        Table{"WhileWarming", 8, {{"absent a: drained", kOut, kNobody}, {"warm 1", "", kNobody}}},
        Table{"BeforeThePlan",
              1,
              {{"absent a: drained", "", "waiting for workers: 0 of 2"},
               {"join b", "", "waiting for workers: 1 of 2"},
               {"present a", "prepare 1 on ab", "loading 0 %"}}},
        Table{"OfASpareDisturbNobody",
              9,
              {{"join c", "", "ready"},
               {"absent c: drained", "", "ready"},
               {"quiet 10", "", "ready"},
               {"absent z: drained", "", "ready"},
               {"leave c: gone", "", "ready"},
               // Still out of use when it comes again.
               {"join c: drained", "", "ready"},
               {"quiet 20", "", "ready"},
               {"leave a: unplugged", "stop: worker a is lost: unplugged, prepare 2 on b",
                "loading 0 %"}}}),
    [](const auto& instance) { return instance.param.name; });

TEST(Deployment, SaysWhetherANodeCanBeSpared) {
    Player player({.workers = 2});
    for (const auto& step : kToReady)
        player.play(step.event);
    player.play("join cx");
    auto& deployment = player.deployment();
    EXPECT_TRUE(deployment.can_spare(NodeId(3)).has_value()) << "it holds nothing";
    EXPECT_TRUE(deployment.can_spare(NodeId(9)).has_value()) << "nobody";
    // By memory cx would get a layer that it has no room for.
    const auto with_x = deployment.can_spare(NodeId(1));
    ASSERT_FALSE(with_x);
    EXPECT_EQ(with_x.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(with_x.error().message,
                ::testing::StartsWith("without a the model does not fit: "));
    player.play("leave c: gone");
    EXPECT_TRUE(deployment.can_spare(NodeId(1)).has_value());
    player.play("absent b: drained");
    const auto last = deployment.can_spare(NodeId(1));
    ASSERT_FALSE(last);
    EXPECT_EQ(last.error().message, "there is no other node that could do the work of a");
}

TEST(Deployment, ThinkingOfAPlanAsksWhoeverChooses) {
    DeploymentOptions options{.workers = 2};
    std::size_t considered = 0;
    options.consider = [&](const std::vector<DeviceOffer>& devices) {
        ++considered;
        return std::vector<LayerShare>{{devices.size() - 2, 4}};  // without the small one
    };
    Player player(options);
    for (const auto& step : kToReady)
        player.play(step.event);
    player.play("join cx");
    EXPECT_TRUE(player.deployment().can_spare(NodeId(1)).has_value());
    EXPECT_EQ(considered, 1U);
}

TEST(Deployment, NodesAreInTheOrderOfTheirNames) {
    Deployment deployment({.workers = 3}, {.layer_bytes = {1, 1, 1}},
                          {.n_layers = 3, .kv_heads = 1, .head_dim = 4, .context_length = 64});
    DeploymentActions actions;
    std::uint32_t id = 1;
    for (const char* name : {"local-10", "local-9", "attic"}) {
        deployment.on_node_joined(
            {.node = NodeId(id++), .name = name, .devices = {{"cpu", "cpu-1", 1000 * kMiB}}},
            actions);
    }
    ASSERT_TRUE(deployment.plan());
    std::string order;
    for (const auto& stage : deployment.plan()->stages)
        order += stage.device_name + " ";
    EXPECT_EQ(order, "attic/0 cpu local-9/0 cpu local-10/0 cpu ");
}

TEST(Deployment, TooLittleMemoryIsTold) {
    Player player({.workers = 1});
    EXPECT_EQ(player.play("join ax"), "");
    EXPECT_THAT(player.deployment().status(), ::testing::HasSubstr("ax/0 cpu has 1.0 MiB free"));
}

TEST(Deployment, TheSmallestPoolCounts) {
    Player player({.workers = 2});
    expect_steps(player, {kToReady.begin(), kToReady.begin() + 3});
    EXPECT_GT(player.deployment().plan()->kv_pages, 5U);
    player.play("prepared 1 a");
    EXPECT_EQ(player.deployment().plan()->kv_pages, 5U);
}

TEST(Deployment, EpochsGoOnWhereTheyWere) {
    Player player({.workers = 1, .first_epoch = 41});
    EXPECT_EQ(player.play("join a"), "prepare 42 on a");
    EXPECT_EQ(player.play("leave a: gone"), "stop: worker a is lost: gone");
    EXPECT_EQ(player.play("join b"), "prepare 43 on b");
}

TEST(Deployment, StagesAreChosenByWhoeverIsAsked) {
    std::size_t asked_of = 0;
    DeploymentOptions options{.workers = 3};
    options.choose = [&](const std::vector<DeviceOffer>& devices) {
        asked_of = devices.size();
        return std::vector<LayerShare>{{2, 3}, {0, 1}};
    };
    Player player(options);
    expect_steps(player, {{"join a", "", "waiting for workers: 1 of 3"},
                          {"join b", "", "waiting for workers: 2 of 3"},
                          {"join c", "prepare 1 on ca", "loading 0 %"}});
    EXPECT_EQ(asked_of, 3U);
    const auto& stages = player.deployment().plan()->stages;
    ASSERT_EQ(stages.size(), 2U);
    EXPECT_EQ(stages[0].part.end, 3U);
    EXPECT_EQ(stages[1].part.begin, 3U);
}

TEST(Deployment, WhoeverPlansLeaveOutIsToldUntilOneStarts) {
    DeploymentOptions options{.workers = 2};
    options.choose = [&](const std::vector<DeviceOffer>& devices) {
        if (devices.size() == 1) return std::vector<LayerShare>{{0, 4}};
        // Of three, the last two.
        return devices.size() < 3 ? std::vector<LayerShare>{{0, 2}, {1, 2}}
                                  : std::vector<LayerShare>{{1, 2}, {2, 2}};
    };
    Player player(options);
    expect_steps(player, kToReady);
    player.play("join c");
    EXPECT_EQ(player.play("quiet 1"),
              "stop as planned: workers are being taken in, prepare 2 on bc without a");
    EXPECT_EQ(player.play("fail 2: broken"), "stop: broken");
    EXPECT_EQ(player.play("time 5000"), "prepare 3 on bc without a") << "it may not have heard";
    EXPECT_EQ(player.play("leave c: gone"), "stop: worker c is lost: gone, prepare 4 on ab")
        << "who is gone is not told";
    EXPECT_EQ(player.play("leave b: gone"), "stop: worker b is lost: gone, prepare 5 on a");
}

TEST(Deployment, ASplitByHandIsNotAskedAbout) {
    DeploymentOptions options{.workers = 2, .plan = {.split = {1, 3}}};
    options.choose = [](const std::vector<DeviceOffer>&) {
        ADD_FAILURE();
        return std::vector<LayerShare>{};
    };
    Player player(options);
    player.play("join a");
    EXPECT_EQ(player.play("join b"), "prepare 1 on ab");
    EXPECT_EQ(player.deployment().plan()->stages[0].part.end, 1U);
}

TEST(Deployment, WithoutAnOpinionItGoesByMemory) {
    DeploymentOptions options{.workers = 2};
    options.choose = [](const std::vector<DeviceOffer>&) { return std::vector<LayerShare>{}; };
    Player player(options);
    player.play("join a");
    EXPECT_EQ(player.play("join b"), "prepare 1 on ab");
    EXPECT_EQ(player.deployment().plan()->stages[0].part.end, 2U);
}

TEST(Deployment, SaysHowFarWeightsAreAndHowLongTheyTake) {
    Player player({.workers = 2});
    player.play("join a");
    player.play("join b");
    auto& deployment = player.deployment();
    using Phase = StageProgress::Phase;
    const auto report = [&](std::uint32_t stage, const StageProgress& progress) {
        deployment.on_progress(Epoch(1), StageIndex(stage), progress);
    };
    report(0, {kMiB, 4 * kMiB, Phase::kHashing, 0});
    report(1, {2 * kMiB, 4 * kMiB, Phase::kHashing, kMiB});
    EXPECT_EQ(deployment.status(), "hashing the model: 50 % of 4.0 MiB, 1.0 MiB/s, 0:02 left");
    report(0, {30 * kMiB, 100 * kMiB, Phase::kFetching, kMiB});
    report(1, {20 * kMiB, 100 * kMiB, Phase::kFetching, kMiB / 2});
    EXPECT_EQ(deployment.status(), "fetching weights: 25 % of 200.0 MiB, 1.5 MiB/s, 2:40 left");
    report(1, {20 * kMiB, 100 * kMiB, Phase::kFetching, kMiB / 128});
    EXPECT_EQ(deployment.status(), "fetching weights: 25 % of 200.0 MiB, 1.0 MiB/s, 2:50:40 left");
    report(1, {20 * kMiB, 100 * kMiB, Phase::kFetching, 1});
    EXPECT_EQ(deployment.status(), "fetching weights: 25 % of 200.0 MiB, 1.0 MiB/s");
    report(1, {100 * kMiB, 100 * kMiB, Phase::kFetching, kMiB});
    report(0, {100, 400, Phase::kLoading, 0});
    EXPECT_EQ(deployment.status(), "loading 25 %");
}

}  // namespace
}  // namespace potluck::coordinator
