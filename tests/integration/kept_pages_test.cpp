// What is left of the work when a machine is lost: stages that kept layers keep their pages, and
// what another arithmetic class computes is only what comes after.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "cluster_process.h"
#include "machines.h"
#include "stream_client.h"

namespace potluck::integration {
namespace {

namespace json = boost::json;

Streams ask(const Cluster& cluster) {
    Streams streams;
    for (const char* prompt : {"def add(a, b):", "class Queue:\\n    def __init__", "import os"}) {
        for (const char* how : {"\"temperature\":0", "\"temperature\":1,\"seed\":5"}) {
            streams.push_back(std::make_unique<StreamClient>(
                cluster.port(),
                std::string("\"prompt\":\"") + prompt + "\"," + how +
                    ",\"max_tokens\":240,\"ignore_eos\":true,\"speculation\":\"off\""));
        }
    }
    return streams;
}

json::object plan_of(const Cluster& cluster) {
    const auto parsed = json::parse(cluster.get("/v1/cluster").body);
    const auto& plan = parsed.at("plan");
    return plan.is_object() ? plan.as_object() : json::object{};
}
std::uint64_t number(const json::object& object, const char* key) {
    return object.at(key).to_number<std::uint64_t>();
}

// Whichever goes, the last stage still has what it had in its last layers.
TEST(KeptPages, RowsAreComputedAgainOnlyUpToTheLastLostLayer) {
    Cluster cluster({"--workers", "3", "--context", "512", "--slots", "8", "--pace", "4ms",
                     "--threads", "1", "--verbose"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    auto undisturbed = ask(cluster);
    const auto expected = answers(undisturbed);
    ASSERT_EQ(plan_of(cluster).at("stages").as_array().size(), 3U);
    auto streams = ask(cluster);
    ASSERT_TRUE(all_have(streams, 12)) << cluster.output();
    ::kill(cluster.worker_pids().at(0), SIGKILL);
    // While the streams go on: later the lost one comes back, with another plan.
    json::object plan;
    ASSERT_TRUE(eventually([&] {
        plan = plan_of(cluster);
        return !plan.empty() && plan.at("stages").as_array().size() == 2 &&
               number(plan, "rows_recomputed") > 0;
    })) << cluster.output();
    EXPECT_EQ(answers(streams), expected) << cluster.output();
    const auto& stages = plan.at("stages").as_array();
    const auto& first = stages.front().as_object();
    const auto& last = stages.back().as_object();
    EXPECT_LT(number(plan, "kept_from"), number(last, "end"));
    // All stages computed what was under way, and only the first one all of the rest.
    EXPECT_EQ(number(first, "rows_recomputed"), number(plan, "rows_recomputed"));
    EXPECT_EQ(number(first, "row_layers_recomputed"),
              number(first, "rows_recomputed") * number(first, "end"));
    EXPECT_LT(number(last, "row_layers_recomputed"),
              number(plan, "rows_recomputed") * (number(last, "end") - number(last, "begin")));
    EXPECT_EQ(number(plan, "rows_kept"), 0U);
}

/// A coordinator, a worker with the CPU's arithmetic and one with another.
class TwoClasses : public Machines {
  protected:
    void SetUp() override {
        Machines::SetUp();
        const std::string token = init("home");
        cluster_ = std::make_unique<Cluster>(coordinator(2, {"--context", "512", "--slots", "8"}),
                                             "coordinator");
        ASSERT_TRUE(cluster_->wait_for("listening at")) << cluster_->output();
        for (const auto& [name, device] :
             {std::pair("attic", "cpu:paced=4ms"), std::pair("cellar", "coarse:paced=4ms")})
            workers_.push_back(
                std::make_unique<Process>(worker(name, token, {"--devices", device})));
        ASSERT_TRUE(cluster_->wait_until_ready()) << cluster_->output() << workers_[1]->output();
    }
    void TearDown() override {
        workers_.clear();
        cluster_.reset();
        Machines::TearDown();
    }

    std::unique_ptr<Cluster> cluster_;
    std::vector<std::unique_ptr<Process>> workers_;
};

TEST_F(TwoClasses, WhatWasSentStaysAndTheRestIsOfTheOtherClass) {
    const std::string both = "potluck-coarse-1+cpu-2";
    const std::string one = "potluck-cpu-2";
    ASSERT_EQ(plan_of(*cluster_).at("fingerprint"), json::value(both));
    auto undisturbed = ask(*cluster_);
    const auto mixed = answers(undisturbed);
    for (const auto& stream : undisturbed) {
        EXPECT_EQ(stream->first_fingerprint(), both);
        EXPECT_EQ(stream->last_fingerprint(), both);
    }
    auto streams = ask(*cluster_);
    ASSERT_TRUE(all_have(streams, 12));
    workers_[1]->signal(SIGKILL);
    std::vector<std::size_t> sent;
    for (const auto& stream : streams)
        sent.push_back(stream->pieces());
    answers(streams);
    for (std::size_t i = 0; i < streams.size(); ++i) {
        const auto& before = undisturbed[i]->texts();
        const auto& after = streams[i]->texts();
        ASSERT_GE(after.size(), sent[i]);
        ASSERT_GE(before.size(), sent[i]);
        for (std::size_t piece = 0; piece < sent[i]; ++piece)
            EXPECT_EQ(after[piece], before[piece]) << "stream " << i << ", piece " << piece;
        EXPECT_THAT(streams[i]->answer(), ::testing::EndsWith("|length"));
        EXPECT_EQ(streams[i]->first_fingerprint(), both);
        EXPECT_EQ(streams[i]->last_fingerprint(), both + "," + one);
    }
    // Pages of one class are of no use to the other.
    const auto plan = plan_of(*cluster_);
    EXPECT_EQ(plan.at("fingerprint"), json::value(one));
    EXPECT_EQ(number(plan, "kept_from"),
              number(plan.at("stages").as_array().back().as_object(), "end"));
    // They are classes indeed: the same questions have other answers.
    auto later = ask(*cluster_);
    EXPECT_NE(answers(later), mixed);
    for (const auto& stream : later)
        EXPECT_EQ(stream->first_fingerprint(), one);
}

}  // namespace
}  // namespace potluck::integration
