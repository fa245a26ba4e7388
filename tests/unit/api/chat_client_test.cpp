// The client of `potluck chat` against the real server. The program's sources are no library, so
// the file is compiled into this test.
#include "cli/chat_client.cpp"

#include <gtest/gtest.h>

#include "fixture.h"

namespace potluck::coordinator::test {
namespace {

cli::ChatOptions options_for(const TestServer& server) {
    cli::ChatOptions options;
    options.port = server.port();
    options.messages = {{{"role", "user"}, {"content", "hi"}}};
    return options;
}

TEST(ChatClient, StreamsTheText) {
    TestServer server;
    std::string text, finish_reason;
    std::size_t pieces = 0;
    cli::ChatOptions options = options_for(server);
    options.model = "tiny-coder";
    options.sampling = {{"temperature", 0}, {"stream_options", {{"include_usage", true}}}};
    options.on_finish = [&](std::string_view reason) { finish_reason = reason; };
    const Status status = cli::stream_chat(options, [&](std::string_view piece) {
        text += piece;
        ++pieces;
    });
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(text, "Hello");
    EXPECT_EQ(pieces, 2U);
    EXPECT_EQ(finish_reason, "stop");
    server.on_loop([&] { EXPECT_EQ(server.backend().submitted.at(0).sampler.temperature, 0.0F); });
}

TEST(ChatClient, LongAnswersAndCommentsPassThrough) {
    ApiOptions options;
    options.keep_alive_interval = std::chrono::milliseconds(1);
    TestServer server(options);
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            std::vector<FakeBackend::Step> steps;
            for (int i = 0; i < 200; ++i)
                steps.push_back(say(0, std::string(999, 'x')));
            steps.push_back(finish(0, FinishReason::kLength));
            steps.push_back(done({1, 200, 0}));
            return steps;
        };
    });
    std::string text;
    const Status status =
        cli::stream_chat(options_for(server), [&](std::string_view piece) { text += piece; });
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(text, std::string(200 * 999, 'x'));
}

TEST(ChatClient, SaysWhatTheServerSays) {
    TestServer server;
    cli::ChatOptions options = options_for(server);
    const auto nothing = [](std::string_view) {};
    options.sampling = {{"temperature", 5}};
    const Status refused = cli::stream_chat(options, nothing);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(refused.error().message.find("temperature"), std::string::npos);
    options.sampling = {};
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{say(0, "so far"),
                                                  fail(ErrorCode::kPeerLost, "worker lost")};
        };
    });
    std::string text;
    const Status broken = cli::stream_chat(options, [&](std::string_view s) { text += s; });
    ASSERT_FALSE(broken);
    EXPECT_EQ(broken.error().message, "worker lost");
    EXPECT_EQ(text, "so far");
    server.on_loop([&] { server.backend().submit_error = Error{ErrorCode::kPeerLost, "no one"}; });
    const Status lost = cli::stream_chat(options, nothing);
    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().code, ErrorCode::kPeerLost);
}

TEST(ChatClient, SaysWhenNobodyListens) {
    cli::ChatOptions options;
    {
        TestServer server;
        options = options_for(server);
    }
    const Status status = cli::stream_chat(options, [](std::string_view) {});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kPeerLost);
    EXPECT_NE(status.error().message.find(fmt::format("127.0.0.1:{}", options.port)),
              std::string::npos);
    EXPECT_NE(status.error().message.find("potluck"), std::string::npos);
}

TEST(ChatClient, SaysWhenTheServerStops) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{say(0, "so far"), hang()};
        };
    });
    const Status status =
        cli::stream_chat(options_for(server), [&](std::string_view) { server.stop(); });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::kPeerLost);
}

TEST(HttpGet, GivesTheBodyOrTheError) {
    TestServer server;
    const auto health = cli::http_get("localhost", server.port(), "/health");
    ASSERT_TRUE(health) << health.error().message;
    EXPECT_EQ(*health, R"({"status":"ready"})");
    server.on_loop([&] { server.backend().health_now = {false, "loading"}; });
    EXPECT_EQ(cli::http_get("127.0.0.1", server.port(), "/health").value(),
              R"({"status":"loading"})");
    const auto missing = cli::http_get("127.0.0.1", server.port(), "/v1/models/x");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace potluck::coordinator::test
