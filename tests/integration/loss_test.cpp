// Machines that go in the middle of answers: killed, hung, or the coordinator itself. What clients
// get is what they would have got anyway.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "cluster_process.h"
#include "machines.h"
#include "stream_client.h"

namespace potluck::integration {
namespace {

using ::testing::HasSubstr;

/// Greedy and sampled, short and long, and two that begin alike.
std::vector<std::string> questions() {
    const std::string code = "import os\\n\\ndef read_all(path):\\n    with open(path) as f:\\n";
    std::vector<std::string> all;
    for (const char* prompt : {"def add(a, b):", "class Queue:\\n    def __init__", "x"}) {
        all.push_back(std::string("\"prompt\":\"") + prompt +
                      "\",\"temperature\":0,\"max_tokens\":70");
        all.push_back(std::string("\"prompt\":\"") + prompt +
                      "\",\"temperature\":1,\"seed\":5,\"max_tokens\":60,\"ignore_eos\":true");
    }
    all.push_back("\"prompt\":\"" + code + "\",\"temperature\":0,\"max_tokens\":50");
    all.push_back("\"prompt\":\"" + code + "        return\",\"temperature\":0,\"max_tokens\":50");
    return all;
}

Streams ask_all(const Cluster& cluster) {
    Streams streams;
    for (const auto& question : questions())
        streams.push_back(std::make_unique<StreamClient>(cluster.port(), question));
    return streams;
}

std::vector<std::string> four_workers() {
    return {"--workers", "4",   "--context", "512", "--slots",  "8",
            "--pace",    "3ms", "--threads", "1",   "--verbose"};
}

class Victims : public ::testing::TestWithParam<std::size_t> {};

TEST_P(Victims, KilledInTheMiddleOfStreamsAreNotMissed) {
    Cluster cluster(four_workers());
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    auto undisturbed = ask_all(cluster);
    const auto expected = answers(undisturbed);
    auto streams = ask_all(cluster);
    ASSERT_TRUE(all_have(streams, 3)) << cluster.output();
    ::kill(cluster.worker_pids().at(GetParam()), SIGKILL);
    const auto got = answers(streams);
    for (std::size_t i = 0; i < got.size(); ++i)
        EXPECT_EQ(got[i], expected[i]) << questions()[i] << "\n" << cluster.output();
    const std::string said = cluster.output();
    EXPECT_THAT(said, HasSubstr(": 3 stages"));
    EXPECT_EQ(count(said, "\nlost: "), 1U) << said;
    // The process is started again, and taken in when it is quiet.
    EXPECT_TRUE(eventually([&] { return count(cluster.output(), ": 4 stages") == 2; }))
        << cluster.output();
    ASSERT_TRUE(cluster.wait_until_ready());
    auto later = ask_all(cluster);
    EXPECT_EQ(answers(later), expected);
}

INSTANTIATE_TEST_SUITE_P(Stages, Victims, ::testing::Values(0U, 2U, 3U));

TEST(Loss, AWorkerThatHangsIsNotMissedAndComesBack) {
    Cluster cluster(four_workers());
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    auto undisturbed = ask_all(cluster);
    const auto expected = answers(undisturbed);
    auto streams = ask_all(cluster);
    ASSERT_TRUE(all_have(streams, 3)) << cluster.output();
    const int pid = cluster.worker_pids().at(1);
    ::kill(pid, SIGSTOP);
    EXPECT_EQ(answers(streams), expected) << cluster.output();
    EXPECT_THAT(cluster.output(), HasSubstr("it has said nothing for 750 ms"));
    ::kill(pid, SIGCONT);
    EXPECT_TRUE(eventually([&] { return count(cluster.output(), ": 4 stages") == 2; }))
        << cluster.output();
    ASSERT_TRUE(cluster.wait_until_ready());
    auto later = ask_all(cluster);
    EXPECT_EQ(answers(later), expected) << cluster.output();
}

TEST(Loss, RequestsWaitForMachinesButNotForEver) {
    Cluster cluster({"--workers", "2", "--patience", "2", "--pace", "3ms"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const std::string question = questions().front();
    const auto expected = StreamClient(cluster.port(), question).answer();
    StreamClient stream(cluster.port(), question);
    ASSERT_TRUE(eventually([&] { return stream.pieces() >= 3; }));
    for (const int pid : cluster.worker_pids())
        ::kill(pid, SIGSTOP);
    ASSERT_TRUE(eventually([&] { return cluster.get("/health").status == 503; }));
    // One that comes now waits as well, until patience ends; then it is a clear answer.
    StreamClient late(cluster.port(), question);
    EXPECT_THAT(stream.answer(),
                HasSubstr("not whole again within 2 s (waiting for workers: 0 of"));
    EXPECT_THAT(late.answer(), HasSubstr("HTTP/1.1 503"));
    EXPECT_EQ(cluster.post("/v1/completions", R"({"prompt":"x"})").status, 503);
    for (const int pid : cluster.worker_pids())
        ::kill(pid, SIGCONT);
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    EXPECT_EQ(StreamClient(cluster.port(), question).answer(), expected);
}

class LossOfTheCoordinator : public Machines {};

TEST_F(LossOfTheCoordinator, OneThatComesBackFindsWeightsLoaded) {
    const std::string token = init("home");
    std::vector<std::unique_ptr<Process>> workers;
    const auto start_workers = [&] {
        for (const char* name : {"attic", "cellar"})
            workers.push_back(std::make_unique<Process>(worker(name, token, {"--verbose"})));
    };
    std::string expected;
    for (const bool first : {true, false}) {
        Cluster cluster(coordinator(2), "coordinator");
        ASSERT_TRUE(cluster.wait_for("listening at")) << cluster.output();
        if (first) start_workers();
        ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output() << workers[0]->output();
        const std::string question = questions().front();
        const auto answer = StreamClient(cluster.port(), question).answer();
        if (first) {
            expected = answer;
            StreamClient open(cluster.port(),
                              "\"prompt\":\"x\",\"max_tokens\":1900,\"ignore_eos\":true");
            ASSERT_TRUE(eventually([&] { return open.pieces() >= 3; }));
            cluster.signal(SIGKILL);
            EXPECT_THAT(open.answer(), HasSubstr("cut off"));
        } else {
            EXPECT_EQ(answer, expected);
            for (auto& each : workers) {
                EXPECT_TRUE(each->running());
                EXPECT_EQ(count(each->output(), ": 0 bytes of weights read"), 1U) << each->output();
            }
            cluster.signal(SIGTERM);
        }
        cluster.wait_for_exit();
    }
}

}  // namespace
}  // namespace potluck::integration
