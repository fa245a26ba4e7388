// What a person sees of a cluster: it starts, answers, refuses nonsense, stops.

#include <gtest/gtest.h>

#include <csignal>
#include <string>

#include <boost/json.hpp>

#include "cluster_process.h"

namespace potluck::integration {
namespace {

bool gone(int pid) {
    return ::kill(pid, 0) != 0;
}

TEST(ClusterLife, StartsAnswersAndStopsAll) {
    Cluster cluster({"--workers", "3", "--split", "3,3,2", "--context", "1024", "--slots", "4"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto pids = cluster.worker_pids();
    ASSERT_EQ(pids.size(), 3U);
    const std::string said = cluster.output();
    EXPECT_NE(said.find("layers   0..2"), std::string::npos) << said;
    EXPECT_NE(said.find("layers   6..7"), std::string::npos) << said;
    EXPECT_NE(said.find("context 1024 tokens per request, 4 slots, KV pool"), std::string::npos)
        << said;
    EXPECT_NE(said.find("ready: send chat requests to http://127.0.0.1:"), std::string::npos)
        << said;

    const std::string question =
        "Repeat this code:\n```python\ndef getregentry():\n    return codecs.CodecInfo(\n"
        "        name='shift_jis_2004',\n        encode=Codec().encode,\n    )\n```";
    const boost::json::object body = {{"messages", {{{"role", "user"}, {"content", question}}}},
                                      {"temperature", 0},
                                      {"max_tokens", 48}};
    const auto answer = cluster.post("/v1/chat/completions", boost::json::serialize(body));
    ASSERT_EQ(answer.status, 200) << answer.body;
    const auto parsed = boost::json::parse(answer.body);
    const std::string text(parsed.at("choices").at(0).at("message").at("content").as_string());
    EXPECT_TRUE(text.starts_with("```python\ndef getregentry():\n    return codecs.CodecInfo("))
        << text;

    cluster.signal(SIGTERM);
    EXPECT_EQ(cluster.wait_for_exit(), 0) << cluster.output();
    for (const int pid : pids)
        EXPECT_TRUE(gone(pid)) << pid;
}

TEST(ClusterLife, CtrlCStopsAll) {
    Cluster cluster({"--workers", "2"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto pids = cluster.worker_pids();
    cluster.signal(SIGINT);
    EXPECT_EQ(cluster.wait_for_exit(), 0);
    // Workers may say of one another that a link is lost.
    for (const char* name : {"worker local-1 is lost", "worker local-2 is lost"})
        EXPECT_EQ(cluster.output().find(name), std::string::npos)
            << "they were asked to end: " << cluster.output();
    for (const int pid : pids)
        EXPECT_TRUE(gone(pid)) << pid;
}

TEST(ClusterLife, WorkersEndWithAKilledCoordinator) {
    Cluster cluster({"--workers", "2"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto pids = cluster.worker_pids();
    cluster.signal(SIGKILL);
    cluster.wait_for_exit();
    for (const int pid : pids)
        EXPECT_TRUE(eventually([&] { return gone(pid); })) << pid;
}

TEST(ClusterLife, AnswersManyKindsOfRequests) {
    Cluster cluster({"--workers", "2"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto models = cluster.get("/v1/models");
    EXPECT_EQ(models.status, 200);
    EXPECT_NE(models.body.find("tiny-coder-q8_0"), std::string::npos) << models.body;
    EXPECT_EQ(cluster.post("/v1/chat/completions", "{").status, 400);
    const auto tools = cluster.post("/v1/chat/completions",
                                    R"({"messages":[{"role":"user","content":"x"}],)"
                                    R"("tools":[{"type":"function","function":{"name":"f"}}]})");
    EXPECT_EQ(tools.status, 400);
    EXPECT_NE(tools.body.find("tools"), std::string::npos);
    EXPECT_EQ(cluster.post("/v1/completions", R"({"model":"other","prompt":"x"})").status, 404);

    // Two choices of one prompt with a seed: the first is the answer with n = 1, and both repeat.
    const std::string one =
        R"({"prompt":"def area(","max_tokens":24,"temperature":1,"seed":7,"logprobs":2})";
    const std::string two =
        R"({"prompt":"def area(","max_tokens":24,"temperature":1,"seed":7,"logprobs":2,"n":2})";
    const auto first = boost::json::parse(cluster.post("/v1/completions", one).body);
    const auto both = boost::json::parse(cluster.post("/v1/completions", two).body);
    const auto again = boost::json::parse(cluster.post("/v1/completions", two).body);
    EXPECT_EQ(first.at("choices").at(0).at("text"), both.at("choices").at(0).at("text"));
    EXPECT_EQ(both.at("choices"), again.at("choices"));
    EXPECT_NE(both.at("choices").at(0).at("text"), both.at("choices").at(1).at("text"));

    const auto stream =
        cluster.post("/v1/completions",
                     R"({"prompt":"import os\n","max_tokens":8,"temperature":0,"stream":true,)"
                     R"("stream_options":{"include_usage":true}})");
    EXPECT_EQ(stream.status, 200);
    EXPECT_NE(stream.body.find("data: [DONE]"), std::string::npos) << stream.body;
    EXPECT_NE(stream.body.find("\"completion_tokens\":8"), std::string::npos) << stream.body;
}

TEST(ClusterLife, ASplitThatDoesNotFitIsExplained) {
    Cluster cluster({"--workers", "2", "--split", "3,3"});
    EXPECT_TRUE(eventually([&] {
        return cluster.get("/health").body.find("the split 3,3 has 6 layers, the model has 8") !=
               std::string::npos;
    })) << cluster.output();
    EXPECT_TRUE(cluster.running());
}

TEST(ClusterLife, RefusesWhatCannotWork) {
    const auto missing = run_program({"up", "--model", "/nonexistent.gguf", "--port", "0"});
    EXPECT_NE(missing.exit_code, 0);
    EXPECT_NE(missing.err.find("/nonexistent.gguf"), std::string::npos) << missing.err;
    const auto host = run_program({"up", "--host", "0.0.0.0", "--port", "0"});
    EXPECT_EQ(host.exit_code, 2) << host.err;
    EXPECT_NE(host.err.find("127.0.0.1"), std::string::npos) << host.err;
}

}  // namespace
}  // namespace potluck::integration
