// Machines that are not always there for the cluster: drained, in quiet hours, wanted by somebody
// else. Streams go on, memory is given back, and what was decided is still so after a restart.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/json.hpp>

#include "asking.h"
#include "cluster_process.h"
#include "machines.h"
#include "stream_client.h"

namespace potluck::integration {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using ::testing::HasSubstr;

/// "drained: quiet hours: until 23:30", or "" if it is not here.
std::string state_of(const Cluster& cluster, const std::string& name) {
    boost::system::error_code bad;
    const auto told = json::parse(cluster.get("/v1/cluster").body, bad);
    if (bad) return {};
    for (const auto& node : told.at("nodes").as_array()) {
        if (node.at("name").as_string() != name) continue;
        const std::string state(node.at("state").as_string());
        const std::string why(node.at("why").as_string());
        return why.empty() ? state : state + ": " + why;
    }
    return {};
}

/// Names of the nodes with a stage, in order: "local-1 local-3".
std::string planned(const Cluster& cluster) {
    boost::system::error_code bad;
    const auto told = json::parse(cluster.get("/v1/cluster").body, bad);
    if (bad || told.at("plan").is_null()) return {};
    std::string names;
    for (const auto& stage : told.at("plan").at("stages").as_array()) {
        for (const auto& node : told.at("nodes").as_array()) {
            if (node.at("id") != stage.at("node")) continue;
            names += (names.empty() ? "" : " ") + std::string(node.at("name").as_string());
        }
    }
    return names;
}

Finished command(const Cluster& cluster, std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--port", std::to_string(cluster.port())});
    return run_program(arguments);
}

/// Anonymous memory of a process, in KiB.
std::uint64_t anonymous_kib(int pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string word; status >> word;) {
        std::uint64_t kib = 0;
        if (word == "RssAnon:" && status >> kib) return kib;
    }
    return 0;
}

const Question kLong{.prompt = "class Queue:",
                     .temperature = 1,
                     .speculation = "off",
                     .max_tokens = 500,
                     .seed = 3,
                     .ignore_eos = true};

/// What a stream says that nothing befell.
std::string undisturbed(const Question& question) {
    return answer_alone(question) + "|length";
}

TEST(Drain, AStreamGoesOnAndTheMemoryIsGivenBack) {
    // Memory of all answers at once, so that it is much beside the program's own.
    Cluster cluster({"--workers", "3", "--pace", "3ms", "--threads", "1", "--context", "2048",
                     "--slots", "32", "--no-repack", "--verbose"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    ASSERT_EQ(planned(cluster), "local-1 local-2 local-3");
    const auto expected = undisturbed(kLong);
    const int pid = cluster.worker_pids().at(1);
    const auto before = anonymous_kib(pid);

    StreamClient stream(cluster.port(), fields(kLong));
    ASSERT_TRUE(eventually([&] { return stream.pieces() >= 3; }));
    const auto drained = command(cluster, {"drain", "local-2"});
    EXPECT_EQ(drained.exit_code, 0) << drained.err;
    EXPECT_THAT(drained.out, HasSubstr("local-2 is drained"));
    EXPECT_EQ(state_of(cluster, "local-2"), "drained: drained");
    EXPECT_FALSE(stream.ended()) << "too short to show anything";
    EXPECT_EQ(stream.answer(), expected) << cluster.output();
    EXPECT_EQ(planned(cluster), "local-1 local-3");
    const auto after = anonymous_kib(pid);
    RecordProperty("before_kib", std::to_string(before));
    RecordProperty("after_kib", std::to_string(after));
    EXPECT_LT(after, before * 6 / 10) << before << " KiB before, " << after << " after";
    EXPECT_THAT(command(cluster, {"nodes"}).out, HasSubstr("out of use\n  local-2"));
    // A second time nothing happens.
    EXPECT_THAT(command(cluster, {"drain", "local-2"}).out, HasSubstr("drained already"));

    EXPECT_EQ(command(cluster, {"undrain", "local-2"}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return planned(cluster) == "local-1 local-2 local-3"; }));
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    EXPECT_EQ(state_of(cluster, "local-2"), "available");
    Question again = kLong;
    again.max_tokens = 48;
    EXPECT_EQ(StreamClient(cluster.port(), fields(again)).answer(), undisturbed(again));
}

TEST(Drain, WhatTheOthersCannotBearIsRefusedUnlessForced) {
    Cluster cluster({"--workers", "1", "--pace", "2ms", "--patience", "60"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto expected = undisturbed(kLong);
    const auto refused = command(cluster, {"drain", "local-1"});
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_THAT(refused.err, HasSubstr("no other node"));
    const auto unknown = command(cluster, {"drain", "attic"});
    EXPECT_NE(unknown.exit_code, 0);
    EXPECT_THAT(unknown.err, HasSubstr("there is no node 'attic'; there is local-1"));
    EXPECT_EQ(cluster.get("/health").status, 200);

    StreamClient stream(cluster.port(), fields(kLong));
    ASSERT_TRUE(eventually([&] { return stream.pieces() >= 3; }));
    EXPECT_EQ(command(cluster, {"drain", "local-1", "--force"}).exit_code, 0);
    EXPECT_EQ(cluster.get("/health").status, 503);
    EXPECT_THAT(cluster.get("/health").body, HasSubstr("local-1 is out of use: drained"));
    EXPECT_FALSE(stream.ended());
    EXPECT_EQ(command(cluster, {"undrain", "local-1"}).exit_code, 0);
    EXPECT_EQ(stream.answer(), expected) << cluster.output();
}

class Home : public Machines {
  protected:
    void SetUp() override {
        Machines::SetUp();
        token_ = init("home");
    }
    std::unique_ptr<Cluster> serve(int workers) const {
        return std::make_unique<Cluster>(coordinator(workers, {"--context", "512", "--verbose"}),
                                         "coordinator");
    }
    std::unique_ptr<Process> join(const std::string& name,
                                  std::vector<std::string> more = {}) const {
        more.emplace_back("--verbose");
        return std::make_unique<Process>(worker(name, token_, more));
    }
    std::string token_;
};

TEST_F(Home, ADrainedNodeStaysDrainedWhenTheCoordinatorComesBack) {
    auto cluster = serve(2);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic = join("attic");
    const auto desk = join("desk");
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    ASSERT_EQ(command(*cluster, {"drain", "attic"}).exit_code, 0) << cluster->output();
    cluster->signal(SIGKILL);
    cluster->wait_for_exit();

    cluster = serve(1);
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << desk->output();
    EXPECT_EQ(planned(*cluster), "desk");
    EXPECT_TRUE(eventually([&] { return state_of(*cluster, "attic") == "drained: drained"; }))
        << cluster->output() << attic->output();
    EXPECT_EQ(planned(*cluster), "desk");
    ASSERT_EQ(command(*cluster, {"undrain", "attic"}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return planned(*cluster) == "attic desk"; })) << cluster->output();
}

TEST_F(Home, AHookMakesANodeYieldAndReturn) {
    const std::string game = dir("game");
    const auto cluster = serve(2);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic =
        join("attic", {"--yield-hook", game, "--yield-calm", "1", "--devices", "cpu:paced=10ms"});
    const auto desk = join("desk", {"--devices", "cpu:paced=10ms"});
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    ASSERT_EQ(planned(*cluster), "attic desk");
    const Question question{
        .prompt = "x", .speculation = "off", .max_tokens = 250, .ignore_eos = true};
    const auto expected = undisturbed(question);

    StreamClient stream(cluster->port(), fields(question));
    ASSERT_TRUE(eventually([&] { return stream.pieces() >= 3; }));
    std::ofstream(game).close();
    EXPECT_TRUE(eventually([&] {
        return state_of(*cluster, "attic") == "drained: it yields: " + game + " exists";
    })) << cluster->output()
        << attic->output();
    EXPECT_EQ(planned(*cluster), "desk");
    EXPECT_FALSE(stream.ended()) << "too short to show anything";
    EXPECT_EQ(stream.answer(), expected) << cluster->output();
    fs::remove(game);
    EXPECT_TRUE(eventually([&] { return planned(*cluster) == "attic desk"; }))
        << cluster->output() << attic->output();
    EXPECT_TRUE(cluster->wait_until_ready()) << cluster->output();
}

TEST_F(Home, ANodeThatThePlanLeavesOutGivesItsPagesBack) {
    // A slow worker has everything until a fast one comes, with which nobody needs it.
    Cluster cluster({"--dir", dir("home"), "--listen", address_, "--workers", "1", "--context",
                     "2048", "--slots", "32"},
                    "coordinator");
    ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
    const auto slow = join("attic", {"--devices", "cpu:paced=x8", "--no-repack"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << slow->output();
    const Question question{.prompt = "x", .speculation = "off", .max_tokens = 8};
    StreamClient(cluster.port(), fields(question)).answer();
    const auto before = anonymous_kib(slow->pid());
    const auto fast = join("desk", {"--no-repack"});
    ASSERT_TRUE(eventually([&] { return planned(cluster) == "desk"; })) << cluster.output();
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << fast->output();
    EXPECT_TRUE(eventually([&] { return anonymous_kib(slow->pid()) < before * 6 / 10; }))
        << before << " KiB before, " << anonymous_kib(slow->pid()) << " after";
    EXPECT_EQ(state_of(cluster, "attic"), "available");
}

TEST_F(Home, ANodeInItsQuietHoursIsNotPlannedIn) {
    const auto cluster = serve(1);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic = join("attic", {"--quiet-hours", "00:00-12:00,12:00-24:00"});
    EXPECT_TRUE(eventually([&] {
        return state_of(*cluster, "attic").starts_with("drained: quiet hours: until ");
    })) << cluster->output()
        << attic->output();
    EXPECT_EQ(cluster->get("/health").status, 503);
    const auto desk = join("desk");
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << desk->output();
    EXPECT_EQ(planned(*cluster), "desk");
    const auto wrong = run_program({"worker", "--quiet-hours", "noon"});
    EXPECT_EQ(wrong.exit_code, 2);
    EXPECT_THAT(wrong.err, HasSubstr("'noon' is not like 18:00-23:30"));
}

TEST_F(Home, AWorkerThatBootsFirstWaitsForItsCoordinator) {
    const auto attic = join("attic");
    ASSERT_TRUE(attic->wait_for("trying again")) << attic->output();
    std::this_thread::sleep_for(std::chrono::seconds(2));  // several attempts, said once
    EXPECT_TRUE(attic->running());
    const auto cluster = serve(1);
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    const std::string said = attic->output();
    EXPECT_EQ(said.find("trying again"), said.rfind("trying again")) << said;
}

TEST_F(Home, LinksToANodeThatComesLaterAreMeasuredBeforeItIsPlanned) {
    const auto cluster = serve(1);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic = join("attic");
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    const auto links = [&] {
        return json::parse(cluster->get("/v1/cluster").body).at("links").as_array().size();
    };
    EXPECT_EQ(links(), 1U);
    const auto desk = join("desk");
    EXPECT_TRUE(eventually([&] { return planned(*cluster) == "attic desk"; }))
        << cluster->output() << desk->output();
    EXPECT_EQ(links(), 3U) << "with the coordinator, and with one another";
}

}  // namespace
}  // namespace potluck::integration
