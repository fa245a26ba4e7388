// Where a draft model lives beside a deployment: nodes come, go, are drained and get stages.

#include "coordinator/core/draft_placement.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/support/small_plan.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kMiB = 1U << 20;

/// A model on all nodes but those that are left out by name, and a draft model of 40 MiB beside it.
struct House {
    explicit House(const std::string& node = {}, const std::string& spared = {})
        : deployment(options(spared, left_out), small_footprint(4, kMiB), small_config(4)),
          draft({.node = node, .plan = {.slots = 2, .max_batch_rows = 8}},
                small_footprint(4, 10 * kMiB), small_config(4)) {}

    static DeploymentOptions options(const std::string& spared, const std::string& left_out) {
        DeploymentOptions o{.workers = 2};
        o.spared = spared;
        o.choose = [&left_out](const std::vector<DeviceOffer>& devices) {
            std::vector<LayerShare> shares;
            for (std::size_t i = 0; i < devices.size(); ++i)
                if (left_out.find(devices[i].name[0]) == std::string::npos)
                    shares.push_back({i, 0});
            for (auto& share : shares)
                share.layers = 4 / static_cast<std::uint32_t>(shares.size());
            return shares;
        };
        return o;
    }
    static NodeId id(char name) { return NodeId(static_cast<std::uint32_t>(name - 'a' + 1)); }

    void join(char name, std::uint64_t mib = 1000) {
        DeploymentActions actions;
        NodeOffer offer{.node = id(name), .name = {name}, .address = fmt::format("{}:9", name)};
        offer.devices.push_back({"cpu", "cpu-1", mib * kMiB});
        deployment.on_node_joined(std::move(offer), actions);
        run(actions);
    }
    void leave(char name) {
        DeploymentActions actions;
        deployment.on_node_left(id(name), "gone", actions);
        run(actions);
    }
    void absent(char name, const std::string& why) {
        DeploymentActions actions;
        deployment.on_absence(id(name), why, actions);
        run(actions);
    }
    /// The model's pipeline comes up at once.
    void run(const DeploymentActions& actions) {
        for (const auto& action : actions) {
            const auto* prepare = std::get_if<PrepareNodes>(&action);
            if (prepare == nullptr) continue;
            DeploymentActions more;
            for (const auto& stage : prepare->plan.stages)
                deployment.on_prepared(prepare->plan.epoch, stage.node, {}, {{StageIndex(0), 5}},
                                       more);
            for (const auto& stage : prepare->plan.stages)
                deployment.on_connected(prepare->plan.epoch, stage.node, {}, more);
            deployment.on_links_open(prepare->plan.epoch, more);
            deployment.on_warm(prepare->plan.epoch);
        }
    }
    void quiet() {
        DeploymentActions actions;
        deployment.on_time(now, true, actions);
        run(actions);
    }

    std::string review() {
        return told([&](auto& out) { draft.review(now, deployment, out); });
    }
    std::string prepared(const std::string& problem = {}, std::uint64_t pages = 3) {
        return told([&](auto& out) { draft.on_prepared(epoch(), problem, pages, out); });
    }
    std::string connected(const std::string& problem = {}) {
        return told([&](auto& out) { draft.on_connected(epoch(), problem, out); });
    }
    std::string links() {
        return told([&](auto& out) { draft.on_links_open(epoch(), out); });
    }
    std::string fail(const std::string& why) {
        return told([&](auto& out) {
            draft.on_failure(epoch(), {ErrorCode::kPeerLost, why}, out);
        });
    }
    void to_ready() {
        prepared();
        connected();
        EXPECT_NE(links().find("start"), std::string::npos);
        EXPECT_EQ(draft.state(), DraftState::kReady);
    }
    Epoch epoch() const { return draft.plan() ? draft.plan()->epoch : Epoch(999); }

    template <typename Do>
    std::string told(const Do& act) {
        DeploymentActions actions;
        act(actions);
        std::string text;
        for (const auto& action : actions) {
            if (!text.empty()) text += ", ";
            const auto with = [&](const char* verb, const Plan& plan) {
                EXPECT_EQ(plan.stages.size(), 1U);
                const auto& part = plan.stages.front().part;
                EXPECT_TRUE(part.embedding && part.head && part.begin == 0 && part.end == 4);
                text += fmt::format("{} {} on {}", verb, plan.epoch.value,
                                    static_cast<char>('a' + plan.stages[0].node.value - 1));
            };
            if (const auto* a = std::get_if<PrepareNodes>(&action)) with("prepare", a->plan);
            if (const auto* a = std::get_if<ConnectNodes>(&action)) with("connect", a->plan);
            if (const auto* a = std::get_if<StartPipeline>(&action)) with("start", a->plan);
            if (const auto* a = std::get_if<StopPipeline>(&action))
                text += "stop: " + a->reason.message;
        }
        return text;
    }

    std::string left_out;
    nanoseconds now{};
    Deployment deployment;
    DraftPlacement draft;
};

TEST(DraftPlacement, TakesWhoTheModelLeavesOut) {
    House house;
    house.left_out = "c";
    EXPECT_EQ(house.review(), "");
    EXPECT_EQ(house.draft.absence(), "the cluster is not ready");
    house.join('a');
    house.join('b');
    EXPECT_EQ(house.review(), "");
    EXPECT_EQ(house.draft.absence(), "no worker is idle");
    house.join('c');
    EXPECT_EQ(house.review(), "prepare 2 on c");  // the model's plan has epoch 1
    EXPECT_EQ(house.draft.absence(), "it is being loaded by worker c");
    EXPECT_EQ(house.prepared(), "connect 2 on c");
    EXPECT_EQ(house.draft.plan()->kv_pages, 3U);
    EXPECT_EQ(house.links(), "");
    EXPECT_EQ(house.connected(), "start 2 on c");
    EXPECT_EQ(house.draft.absence(), "");
    EXPECT_EQ(house.review(), "");
    // The next plan of the model has a larger epoch than the draft's.
    EXPECT_EQ(house.deployment.take_epoch(), Epoch(3));
}

TEST(DraftPlacement, WhoIsLostIsReplacedAndComesBack) {
    House house;
    house.left_out = "cd";
    for (const char name : {'a', 'b', 'c'})
        house.join(name);
    house.join('d', 500);
    EXPECT_EQ(house.review(), "prepare 2 on c");  // the larger one
    house.to_ready();
    house.leave('c');
    EXPECT_EQ(house.review(), "stop: worker c is lost, prepare 3 on d");
    house.to_ready();
    house.leave('d');
    EXPECT_EQ(house.review(), "stop: worker d is lost");
    EXPECT_EQ(house.draft.absence(), "no worker is idle");
    // It went soon after it had it: perhaps for that.
    house.join('d');
    EXPECT_EQ(house.review(), "");
    house.now = 1100ms;
    EXPECT_EQ(house.review(), "prepare 4 on d");
}

TEST(DraftPlacement, WhoIsDrainedOrWantedByTheModelGivesItUp) {
    House house;
    house.left_out = "c";
    for (const char name : {'a', 'b', 'c'})
        house.join(name);
    EXPECT_EQ(house.review(), "prepare 2 on c");
    house.to_ready();
    house.absent('c', "drained");
    EXPECT_EQ(house.review(), "stop: worker c is out of use: drained");
    house.absent('c', "");
    EXPECT_EQ(house.review(), "prepare 3 on c");  // at once: that was no failure
    house.left_out = "";
    house.leave('b');  // in the middle of loading
    EXPECT_EQ(house.review(), "stop: worker c has a stage of the model");
    EXPECT_EQ(house.draft.absence(), "no worker is idle");
    EXPECT_EQ(house.prepared(), "");  // late
}

TEST(DraftPlacement, WhatFailsIsTriedAgainLater) {
    House house;
    house.left_out = "c";
    for (const char name : {'a', 'b', 'c'})
        house.join(name);
    EXPECT_EQ(house.review(), "prepare 2 on c");
    EXPECT_EQ(house.prepared("no space"), "stop: worker c cannot load it: no space");
    EXPECT_EQ(house.review(), "");
    EXPECT_EQ(house.draft.absence(), "worker c cannot load it: no space; it is tried again later");
    house.now = 1s;
    EXPECT_EQ(house.review(), "prepare 3 on c");
    house.prepared();
    EXPECT_EQ(house.connected("no route"), "stop: no route");
    house.now = 2s;
    EXPECT_EQ(house.review(), "");  // twice as long
    house.now = 3s;
    EXPECT_EQ(house.review(), "prepare 4 on c");
    house.to_ready();
    house.now = 40s;
    EXPECT_EQ(house.review(), "");  // it lasted
    EXPECT_EQ(house.fail("broken"), "stop: broken");
    house.now = 41s;
    EXPECT_EQ(house.review(), "prepare 5 on c");
    EXPECT_EQ(house.told([&](auto& out) {
        house.draft.on_failure(Epoch(4), {ErrorCode::kPeerLost, "of old"}, out);
    }),
              "");
}

TEST(DraftPlacement, SaysWhyANodeCannotHaveIt) {
    House house;
    house.left_out = "c";
    house.join('a');
    house.join('b');
    house.join('c', 30);
    EXPECT_EQ(house.review(), "");
    EXPECT_NE(house.draft.absence().find("c/0 cpu has 30.0 MiB free"), std::string::npos)
        << house.draft.absence();
}

TEST(DraftPlacement, ANamedNodeIsKeptFreeForIt) {
    House house("b", "b");
    house.join('a');
    EXPECT_EQ(house.review(), "");
    house.join('b');  // the second of two that are waited for
    EXPECT_EQ(house.deployment.plan()->stages.size(), 1U);
    EXPECT_EQ(house.review(), "prepare 2 on b");
    house.to_ready();
    house.join('c');
    house.quiet();
    EXPECT_EQ(house.deployment.plan()->stages.size(), 2U);  // a and c
    EXPECT_EQ(house.review(), "");
    // The model goes first where it must.
    house.leave('a');
    EXPECT_EQ(house.deployment.plan()->stages.size(), 1U);
    EXPECT_EQ(house.review(), "");
    house.leave('c');
    EXPECT_EQ(house.review(), "stop: worker b has a stage of the model");
    EXPECT_EQ(house.draft.absence(), "worker b has a stage of the model");
    house.now = 5s;  // those that went are trusted again
    house.join('a');
    house.quiet();
    EXPECT_EQ(house.review().substr(0, 8), "prepare ");
    house.leave('b');
    house.review();
    EXPECT_EQ(house.draft.absence(), "there is no worker b");
}

}  // namespace
}  // namespace potluck::coordinator
