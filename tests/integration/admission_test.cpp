// Who gets in, and what happens when many come at once.

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include <boost/json.hpp>

#include "cluster_process.h"

namespace potluck::integration {
namespace {

constexpr const char* kCompletions = "/v1/completions";

struct Key {
    std::string secret;
    std::string line;
};

/// As a person makes one: the line comes on stdout, the key on stderr.
Key new_key(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"key", "new"});
    const Finished made = run_program(arguments);
    EXPECT_EQ(made.exit_code, 0) << made.err;
    const std::size_t at = made.err.find("potluck_");
    EXPECT_NE(at, std::string::npos) << made.err;
    EXPECT_EQ(made.out.find("potluck_"), std::string::npos) << "the key itself is in its line";
    return {made.err.substr(at, made.err.find('\n', at) - at), made.out};
}

class KeysFile {
  public:
    explicit KeysFile(const std::string& text)
        : path_((std::filesystem::temp_directory_path() /
                 ("potluck-keys-" + std::to_string(::getpid())))
                    .string()) {
        write(text);
    }
    ~KeysFile() { std::filesystem::remove(path_); }
    KeysFile(const KeysFile&) = delete;
    KeysFile& operator=(const KeysFile&) = delete;
    void write(const std::string& text) const { std::ofstream(path_, std::ios::trunc) << text; }
    const std::string& path() const { return path_; }

  private:
    std::string path_;
};

std::string body(int max_tokens, const std::string& prompt = "def add(a, b):\n") {
    return boost::json::serialize(boost::json::object{
        {"prompt", prompt}, {"max_tokens", max_tokens}, {"temperature", 0}, {"ignore_eos", true}});
}

/// Several hundred tokens.
std::string long_prompt() {
    std::string prompt;
    for (int i = 0; i < 20; ++i)
        prompt += "def f" + std::to_string(i) + "(x):\n    return x + 1\n\n";
    return prompt;
}

std::int64_t cached_tokens(const HttpAnswer& answer) {
    return boost::json::parse(answer.body)
        .at("usage")
        .at("prompt_tokens_details")
        .at("cached_tokens")
        .as_int64();
}

TEST(Admission, KeysAndTheirLimits) {
    const Key alice = new_key({"alice", "--max-tokens", "400"});
    const Key bob = new_key({"bob", "--priority", "batch", "--requests-per-minute", "3"});
    const KeysFile file("# test\n" + alice.line + bob.line);
    Cluster cluster({"--workers", "2", "--context", "1024", "--keys", file.path()});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();  // /health is open
    EXPECT_NE(cluster.output().find("Authorization: Bearer KEY"), std::string::npos);

    for (const std::string& wrong : {std::string(), std::string("nobody"), alice.secret + "0"}) {
        const HttpAnswer refused = cluster.post(kCompletions, body(1), wrong);
        EXPECT_EQ(refused.status, 401);
        EXPECT_EQ(boost::json::parse(refused.body).at("error").at("code"), "invalid_api_key");
        EXPECT_EQ(cluster.get("/v1/models", wrong).status, 401);
    }
    EXPECT_EQ(cluster.get("/v1/models", bob.secret).status, 200);
    EXPECT_EQ(run_program({"status", "--port", std::to_string(cluster.port())}).exit_code, 0);
    const std::vector<std::string> chat = {"chat",         "--port", std::to_string(cluster.port()),
                                           "--max-tokens", "2",      "hello"};
    EXPECT_EQ(run_program(chat).exit_code, 1);
    std::vector<std::string> chat_with_key = chat;
    chat_with_key.insert(chat_with_key.end(), {"--key", alice.secret});
    const Finished talked = run_program(chat_with_key);
    EXPECT_EQ(talked.exit_code, 0) << talked.err;

    const std::string prompt = long_prompt();
    const HttpAnswer too_long = cluster.post(kCompletions, body(2, prompt + prompt), alice.secret);
    EXPECT_EQ(too_long.status, 400);
    EXPECT_NE(too_long.body.find("tokens_per_request_exceeded"), std::string::npos);

    for (int i = 0; i < 3; ++i)
        EXPECT_EQ(cluster.post(kCompletions, body(1), bob.secret).status, 200);
    const HttpAnswer refused = cluster.post(kCompletions, body(1), bob.secret);  // the fourth
    EXPECT_EQ(refused.status, 429);
    EXPECT_GE(std::stoi(refused.headers.at("retry-after")), 1);
    EXPECT_LE(std::stoi(refused.headers.at("retry-after")), 20);
    EXPECT_EQ(refused.headers.at("x-ratelimit-remaining-requests"), "0");
    EXPECT_EQ(cluster.post(kCompletions, body(1), alice.secret).status, 200);

    // Bob leaves; a new key works at once.
    const Key carol = new_key({"carol"});
    file.write(alice.line + carol.line);
    cluster.signal(SIGHUP);
    EXPECT_TRUE(eventually([&] { return cluster.get("/v1/models", carol.secret).status == 200; }))
        << cluster.output();
    EXPECT_EQ(cluster.get("/v1/models", bob.secret).status, 401);
    EXPECT_EQ(cluster.get("/v1/models", alice.secret).status, 200);
}

TEST(Admission, TenantsDoNotShareTheCache) {
    const Key alice = new_key({"alice"});
    const Key bob = new_key({"bob"});
    const KeysFile file(alice.line + bob.line);
    Cluster cluster({"--workers", "2", "--context", "1024", "--keys", file.path()});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const std::string prompt = long_prompt();
    const auto cached = [&](const Key& key) {
        const HttpAnswer answer = cluster.post(kCompletions, body(2, prompt), key.secret);
        EXPECT_EQ(answer.status, 200) << answer.body;
        return answer.status == 200 ? cached_tokens(answer) : -1;
    };
    EXPECT_EQ(cached(alice), 0);
    EXPECT_EQ(cached(bob), 0);
    // A key finds its own: without this the lines above would show nothing.
    EXPECT_GT(cached(alice), 0);
}

TEST(Admission, ManyMoreClientsThanSlots) {
    constexpr int kClients = 200;
    Cluster cluster({"--workers", "2", "--context", "512", "--slots", "8", "--queue-limit", "16"});
    ASSERT_TRUE(cluster.wait_until_ready()) << cluster.output();
    const auto text_of = [](const HttpAnswer& answer) {
        return std::string(
            boost::json::parse(answer.body).at("choices").at(0).at("text").as_string());
    };
    const HttpAnswer alone = cluster.post(kCompletions, body(48));
    ASSERT_EQ(alone.status, 200) << alone.body;
    std::vector<HttpAnswer> answers(kClients);
    {
        std::latch start(kClients);
        std::vector<std::jthread> clients;
        for (HttpAnswer& answer : answers) {
            clients.emplace_back([&] {
                start.arrive_and_wait();
                answer = cluster.post(kCompletions, body(48));
            });
        }
    }
    int served = 0;
    for (const HttpAnswer& answer : answers) {
        if (answer.status == 200) {
            ++served;
            EXPECT_EQ(text_of(answer), text_of(alone));
        } else {
            EXPECT_EQ(answer.status, 429) << answer.body;
            ASSERT_TRUE(answer.headers.contains("retry-after"));
            EXPECT_GE(std::stoi(answer.headers.at("retry-after")), 1);
        }
    }
    EXPECT_GE(served, 8);
    EXPECT_LT(served, kClients);
    EXPECT_EQ(cluster.post(kCompletions, body(1)).status, 200);  // and all is well again
}

TEST(Admission, WhatWouldLetEverybodyInIsRefused) {
    const auto refusal = [](std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), {"up", "--port", "0"});
        const Finished finished = run_program(arguments);
        EXPECT_EQ(finished.exit_code, 2) << finished.err;
        return finished.err;
    };
    EXPECT_NE(refusal({"--host", "0.0.0.0"}).find("--keys"), std::string::npos);
    const KeysFile file("alice sha256:12\n");
    EXPECT_NE(refusal({"--keys", file.path()}).find(file.path() + ":1:"), std::string::npos);
    file.write("");
    std::filesystem::permissions(file.path(), std::filesystem::perms::others_write,
                                 std::filesystem::perm_options::add);
    EXPECT_NE(refusal({"--keys", file.path()}).find("chmod"), std::string::npos);
    EXPECT_EQ(run_program({"key", "new", "two words"}).exit_code, 2);
    EXPECT_EQ(run_program({"key", "new", "a", "--priority", "high"}).exit_code, 2);
    EXPECT_EQ(run_program({"key", "new", "a", "--tokens-per-minute", "99999999999"}).exit_code, 2);
}

}  // namespace
}  // namespace potluck::integration
