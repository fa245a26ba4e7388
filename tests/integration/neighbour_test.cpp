// Machines that are not always there for the cluster: drained, in quiet hours, wanted by somebody
// else. Streams go on, memory is given back, and what was decided is still so after a restart.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <boost/json.hpp>

#include "cluster_process.h"
#include "stream_client.h"

namespace potluck::integration {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using ::testing::HasSubstr;

bool eventually(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < until) {
        if (condition()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
}

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

const std::string kLong =
    "\"prompt\":\"class Queue:\",\"temperature\":1,\"seed\":3,\"max_tokens\":500,"
    "\"ignore_eos\":true,\"speculation\":\"off\"";

TEST(Drain, AStreamGoesOnAndTheMemoryIsGivenBack) {
    // Memory of all answers at once, so that it is much beside the program's own.
    Cluster cluster({"--workers", "3", "--pace", "3ms", "--threads", "1", "--context", "2048",
                     "--slots", "32", "--no-repack", "--verbose"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    ASSERT_EQ(planned(cluster), "local-1 local-2 local-3");
    const auto expected = StreamClient(cluster.port(), kLong).answer();
    const int pid = cluster.worker_pids().at(1);
    const auto before = anonymous_kib(pid);

    StreamClient stream(cluster.port(), kLong);
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
    EXPECT_EQ(StreamClient(cluster.port(), kLong).answer(), expected);
}

TEST(Drain, WhatTheOthersCannotBearIsRefusedUnlessForced) {
    Cluster cluster({"--workers", "1", "--pace", "2ms", "--patience", "60"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto expected = StreamClient(cluster.port(), kLong).answer();
    const auto refused = command(cluster, {"drain", "local-1"});
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_THAT(refused.err, HasSubstr("no other node"));
    const auto unknown = command(cluster, {"drain", "attic"});
    EXPECT_NE(unknown.exit_code, 0);
    EXPECT_THAT(unknown.err, HasSubstr("there is no node 'attic'; there is local-1"));
    EXPECT_EQ(cluster.get("/health").status, 200);

    StreamClient stream(cluster.port(), kLong);
    ASSERT_TRUE(eventually([&] { return stream.pieces() >= 3; }));
    EXPECT_EQ(command(cluster, {"drain", "local-1", "--force"}).exit_code, 0);
    EXPECT_EQ(cluster.get("/health").status, 503);
    EXPECT_THAT(cluster.get("/health").body, HasSubstr("local-1 is out of use: drained"));
    EXPECT_FALSE(stream.ended());
    EXPECT_EQ(command(cluster, {"undrain", "local-1"}).exit_code, 0);
    EXPECT_EQ(stream.answer(), expected) << cluster.output();
}

/// A coordinator and workers of their own, as on several machines.
class Home : public ::testing::Test {
  protected:
    void SetUp() override {
        std::string pattern = (fs::temp_directory_path() / "potluck-neighbour-XXXXXX").string();
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        root_ = pattern;
        address_ = "127.0.0.1:" + std::to_string(free_port());
        const auto made = run_program({"init", "--dir", root_ + "/home", "--address", address_});
        ASSERT_EQ(made.exit_code, 0) << made.err;
        token_ = made.out.substr(0, made.out.find('\n'));
    }
    void TearDown() override { fs::remove_all(root_); }

    std::unique_ptr<Cluster> coordinator(int workers) const {
        return std::make_unique<Cluster>(
            std::vector<std::string>{"--dir", root_ + "/home", "--listen", address_, "--workers",
                                     std::to_string(workers), "--use-all", "--context", "512",
                                     "--verbose"},
            "coordinator");
    }
    std::unique_ptr<Process> worker(const std::string& name,
                                    const std::vector<std::string>& more = {}) const {
        std::vector<std::string> arguments = {
            "worker",    "--dir", root_ + "/" + name, "--name", name,  "--listen", "127.0.0.1:0",
            "--threads", "1",     "--verbose",        "--join", token_};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return std::make_unique<Process>(arguments);
    }
    std::string root_, address_, token_;
};

TEST_F(Home, ADrainedNodeStaysDrainedWhenTheCoordinatorComesBack) {
    auto cluster = coordinator(2);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic = worker("attic");
    const auto desk = worker("desk");
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    ASSERT_EQ(command(*cluster, {"drain", "attic"}).exit_code, 0) << cluster->output();
    cluster->signal(SIGKILL);
    cluster->wait_for_exit();

    cluster = coordinator(1);
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << desk->output();
    EXPECT_EQ(planned(*cluster), "desk");
    EXPECT_TRUE(eventually([&] { return state_of(*cluster, "attic") == "drained: drained"; }))
        << cluster->output() << attic->output();
    EXPECT_EQ(planned(*cluster), "desk");
    ASSERT_EQ(command(*cluster, {"undrain", "attic"}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return planned(*cluster) == "attic desk"; })) << cluster->output();
}

TEST_F(Home, AHookMakesANodeYieldAndReturn) {
    const std::string game = root_ + "/game";
    const auto cluster = coordinator(2);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic =
        worker("attic", {"--yield-hook", game, "--yield-calm", "1", "--devices", "cpu:paced=10ms"});
    const auto desk = worker("desk", {"--devices", "cpu:paced=10ms"});
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    ASSERT_EQ(planned(*cluster), "attic desk");
    const std::string question =
        "\"prompt\":\"x\",\"temperature\":0,\"max_tokens\":250,"
        "\"ignore_eos\":true,\"speculation\":\"off\"";
    const auto expected = StreamClient(cluster->port(), question).answer();

    StreamClient stream(cluster->port(), question);
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

TEST_F(Home, ANodeInItsQuietHoursIsNotPlannedIn) {
    const auto cluster = coordinator(1);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic = worker("attic", {"--quiet-hours", "00:00-12:00,12:00-24:00"});
    EXPECT_TRUE(eventually([&] {
        return state_of(*cluster, "attic").starts_with("drained: quiet hours: until ");
    })) << cluster->output()
        << attic->output();
    EXPECT_EQ(cluster->get("/health").status, 503);
    const auto desk = worker("desk");
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << desk->output();
    EXPECT_EQ(planned(*cluster), "desk");
    const auto wrong = run_program({"worker", "--quiet-hours", "noon"});
    EXPECT_EQ(wrong.exit_code, 2);
    EXPECT_THAT(wrong.err, HasSubstr("'noon' is not like 18:00-23:30"));
}

TEST_F(Home, AWorkerThatBootsFirstWaitsForItsCoordinator) {
    const auto attic = worker("attic");
    ASSERT_TRUE(attic->wait_for("trying again")) << attic->output();
    std::this_thread::sleep_for(std::chrono::seconds(2));  // several attempts, said once
    EXPECT_TRUE(attic->running());
    const auto cluster = coordinator(1);
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    const std::string said = attic->output();
    EXPECT_EQ(said.find("trying again"), said.rfind("trying again")) << said;
}

TEST_F(Home, LinksToANodeThatComesLaterAreMeasuredBeforeItIsPlanned) {
    const auto cluster = coordinator(1);
    ASSERT_TRUE(cluster->wait_for("listening at")) << cluster->output();
    const auto attic = worker("attic");
    ASSERT_TRUE(cluster->wait_until_ready()) << cluster->output() << attic->output();
    const auto links = [&] {
        return json::parse(cluster->get("/v1/cluster").body).at("links").as_array().size();
    };
    EXPECT_EQ(links(), 1U);
    const auto desk = worker("desk");
    EXPECT_TRUE(eventually([&] { return planned(*cluster) == "attic desk"; }))
        << cluster->output() << desk->output();
    EXPECT_EQ(links(), 3U) << "with the coordinator, and with one another";
}

}  // namespace
}  // namespace potluck::integration
