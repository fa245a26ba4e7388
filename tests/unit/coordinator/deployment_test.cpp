// The life of a cluster as tables of steps. An event is "join a", "leave a", "prepared 1 a",
// "progress 1 30", "connected 1 a", "links 1", "warm 1", "fail 1"; numbers are epochs (progress:
// and percent), ": words" at the end is a problem. Expected: the actions, and the line for people.

#include "coordinator/core/deployment.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

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
        : deployment_(options, footprint(), config()) {}

    std::string play(const std::string& event) {
        const auto colon = event.find(": ");
        const std::string problem = colon == std::string::npos ? "" : event.substr(colon + 2);
        std::istringstream words(event.substr(0, colon));
        std::string verb;
        std::string name;
        std::uint64_t number = 0;
        words >> verb;
        if (verb != "join" && verb != "leave") words >> number;
        words >> name;
        const Epoch epoch(number);
        const NodeId node(name.empty() ? 0U : static_cast<std::uint32_t>(name[0] - 'a' + 1));
        DeploymentActions actions;
        if (verb == "join") {
            NodeOffer offer{.node = node, .name = name, .address = name + ":9"};
            // A node whose name has a second letter brings too little.
            offer.devices.push_back({"cpu", "cpu-1", (name.size() > 1 ? 1 : 1000) * kMiB});
            deployment_.on_node_joined(std::move(offer), actions);
        } else if (verb == "leave") {
            deployment_.on_node_left(node, problem, actions);
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
    static model::Footprint footprint() {
        model::Footprint f;
        f.layer_bytes.assign(4, kMiB);
        return f;
    }
    static model::ModelConfig config() {
        model::ModelConfig c;
        c.n_layers = 4;
        c.context_length = 512;
        c.kv_heads = 1;
        c.head_dim = 4;
        return c;
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
            return with_plan("prepare", a->plan);
        if (const auto* a = std::get_if<ConnectNodes>(&action))
            return with_plan("connect", a->plan);
        if (const auto* a = std::get_if<StartPipeline>(&action)) return with_plan("start", a->plan);
        return "stop: " + std::get<StopPipeline>(action).reason.message;
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
              {{"leave a: unplugged", "stop: worker a is lost: unplugged", kOneLeft},
               {"fail 1: late", "", kOneLeft},
               {"join c", "prepare 2 on bc", "loading 0 %"},
               {"prepared 1 b", "", "loading 0 %"},  // late answers of the first epoch
               {"progress 1 90", "", "loading 0 %"},
               {"prepared 2 b", "", "loading 0 %"},
               {"prepared 2 c", "connect 2 on bc", "connecting the stages"},
               {"links 1", "", "connecting the stages"},
               {"connected 1 b", "", "connecting the stages"},
               {"connected 2 b", "", "connecting the stages"},
               {"connected 2 c", "", "connecting the stages"},
               {"links 2", "start 2 on bc", "sending the first token"},
               {"warm 1", "", "sending the first token"},
               {"warm 2", "", "ready"}}},
        Table{"ASpareTakesOver",
              9,
              {{"join c", "", "ready"},
               {"leave a: unplugged", "stop: worker a is lost: unplugged, prepare 2 on bc",
                "loading 0 %"}}},
        Table{"ASpareMayLeave", 9, {{"join c", "", "ready"}, {"leave c: tired", "", "ready"}}},
        Table{"StrangersMayLeave", 9, {{"leave z: who", "", "ready"}}},
        Table{
            "PreparingFails",
            3,
            {{"prepared 1 b: no such tensor", "stop: worker b cannot load its part: no such tensor",
              "cannot serve (worker b cannot load its part: no such tensor)"},
             {"prepared 1 a", "", "cannot serve (worker b cannot load its part: no such tensor)"},
             // Only a change is a reason to try again.
             {"join c", "prepare 2 on abc", "loading 0 %"}}},
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
        Table{"WarmingFails",
              8,
              {{"fail 1: no token", "stop: no token", "cannot serve (no token)"},
               {"warm 1", "", "cannot serve (no token)"}}},
        // What has worked may work again: the same nodes, a new epoch, once.
        Table{"AReadyPipelineThatBreaksIsMadeAnew",
              9,
              {{"fail 1: out of step", "stop: out of step, prepare 2 on ab", "loading 0 %"},
               {"fail 1: out of step", "", "loading 0 %"},
               {"fail 2: again", "stop: again", "cannot serve (again)"}}}),
    [](const auto& instance) { return instance.param.name; });

TEST(Deployment, PlanningFailureIsToldAndTriedAgainAfterAChange) {
    Player player({.workers = 1, .plan = {.split = {2, 2}}});
    const char* const told = "cannot serve (the split 2,2 names 2 devices, the cluster has 1)";
    expect_steps(player, {{"join a", "", told},
                          {"fail 0: nothing", "", told},
                          {"warm 0", "", told},
                          {"join b", "prepare 1 on ab", "loading 0 %"}});
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
