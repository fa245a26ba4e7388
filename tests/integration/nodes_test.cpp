// What a person sees of the machines of a running cluster, and what is still known after a restart.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <boost/json.hpp>

#include "cluster_process.h"
#include "machines.h"

namespace potluck::integration {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using ::testing::HasSubstr;

json::value cluster_json(const Cluster& cluster) {
    const auto answer = cluster.get("/v1/cluster");
    EXPECT_EQ(answer.status, 200) << answer.body;
    boost::system::error_code bad;
    auto parsed = json::parse(answer.body, bad);
    EXPECT_FALSE(bad) << answer.body;
    return parsed;
}

std::string nodes_of(const Cluster& cluster, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"nodes", "--port", std::to_string(cluster.port())};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto said = run_program(arguments);
    EXPECT_EQ(said.exit_code, 0) << said.err;
    return said.out;
}

TEST(Nodes, AreShownWithWhatTheyWereMeasuredToDo) {
    Cluster cluster({"--workers", "2", "--context", "512", "--slots", "2"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    EXPECT_THAT(cluster.output(), HasSubstr("predicted "));
    cluster.complete("def f():", 16);

    const auto told = cluster_json(cluster);
    EXPECT_EQ(told.at("state"), "ready");
    EXPECT_EQ(told.at("epoch"), 1);
    EXPECT_EQ(told.at("planner"), "");
    EXPECT_EQ(told.at("plan").at("stages").as_array().size(), 2U);
    ASSERT_EQ(told.at("nodes").as_array().size(), 2U);
    for (const auto& node : told.at("nodes").as_array()) {
        const auto& device = node.at("devices").at(0);
        EXPECT_GT(device.at("probe").at("read_gbps").as_double(), 0);
        EXPECT_EQ(device.at("probe").at("gops").at("Q8_0").as_array().size(), 3U);
    }
    // Between the two, and from the coordinator to each.
    ASSERT_EQ(told.at("links").as_array().size(), 3U);
    for (const auto& link : told.at("links").as_array()) {
        EXPECT_GT(link.at("rtt_ms").as_double(), 0);
        EXPECT_GT(link.at("gbits").as_double(), 0);
    }
    EXPECT_GT(told.at("predicted").at("decode_tps").as_double(), 0);
    EXPECT_GT(told.at("predicted").at("prefill_tps").as_double(), 0);
    EXPECT_GT(told.at("measured").at("decode_tps").as_double(), 0);
    EXPECT_GT(told.at("plans").at(0).at("predicted").at("decode_tps").as_double(), 0);

    const std::string table = nodes_of(cluster);
    for (const char* words : {"local-1/0", "local-2/0", "Gbit/s", "layers   0..", "one user"})
        EXPECT_THAT(table, HasSubstr(words));
    boost::system::error_code bad;
    json::parse(nodes_of(cluster, {"--json"}), bad);
    EXPECT_FALSE(bad);
}

TEST(Nodes, ThoseOfAPaceOfTheirOwnAreNotPlanned) {
    Cluster cluster({"--workers", "2", "--pace", "2ms,4ms", "--context", "512", "--slots", "2"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto told = cluster_json(cluster);
    EXPECT_TRUE(told.at("nodes").at(0).at("devices").at(0).at("probe").is_null());
    EXPECT_THAT(std::string(told.at("planner").as_string()), HasSubstr("was not measured"));
    EXPECT_TRUE(told.at("predicted").as_object().empty());
    EXPECT_EQ(told.at("plan").at("stages").as_array().size(), 2U);
    EXPECT_THAT(nodes_of(cluster), HasSubstr("not measured"));
}

TEST(Nodes, AKeyIsNeededWhereThereAreKeys) {
    std::string pattern = (fs::temp_directory_path() / "potluck-nodes-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    const std::string file = pattern + "/keys";
    const auto made = run_program({"key", "new", "me"});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    std::ofstream(file) << made.out;
    fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write);
    Cluster cluster({"--keys", file});
    EXPECT_TRUE(cluster.wait_until_ready()) << cluster.output();
    EXPECT_EQ(cluster.get("/v1/cluster").status, 401);
    const auto refused = run_program({"nodes", "--port", std::to_string(cluster.port())});
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_TRUE(refused.out.empty());
    fs::remove_all(pattern);
}

class Restart : public Machines {
  protected:
    void SetUp() override {
        Machines::SetUp();
        token_ = init("home");
    }
    std::vector<std::string> coordinator() const {
        auto arguments = Machines::coordinator(1, {"--context", "512", "--slots", "2"});
        arguments.front() = "--state";  // another name of --dir
        return arguments;
    }
    std::string token_;
};

TEST_F(Restart, EpochsGoOnAndPlansAreRemembered) {
    std::optional<Process> attic;  // it stays, and comes back by itself
    std::int64_t epoch = 0;
    for (const int round : {1, 2}) {
        Cluster cluster(coordinator(), "coordinator");
        ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
        if (!attic) attic.emplace(worker("attic", token_));
        ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << attic->output();
        const auto told = cluster_json(cluster);
        EXPECT_GT(told.at("epoch").as_int64(), epoch);
        epoch = told.at("epoch").as_int64();
        EXPECT_GE(told.at("plans").as_array().size(), static_cast<std::size_t>(round));
        EXPECT_EQ(told.at("nodes").at(0).at("name"), "attic");
        cluster.signal(SIGKILL);
        cluster.wait_for_exit();
    }
    EXPECT_GE(epoch, 2);
}

TEST_F(Restart, ADamagedStoreIsNamed) {
    std::ofstream(dir("home") + "/cluster.sqlite") << std::string(4096, 'x');
    auto arguments = coordinator();
    arguments.insert(arguments.begin(), "coordinator");
    const auto ended = run_program(arguments);
    EXPECT_NE(ended.exit_code, 0);
    EXPECT_THAT(ended.err, HasSubstr("cluster.sqlite"));
}

}  // namespace
}  // namespace potluck::integration
