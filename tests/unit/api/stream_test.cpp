#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include "fixture.h"

namespace potluck::coordinator::test {
namespace {

using namespace std::chrono_literals;
namespace json = boost::json;

std::string chat_body(const std::string& fields) {
    return R"({"messages":[{"role":"user","content":"hi"}],"stream":true)" +
           (fields.empty() ? "" : "," + fields) + "}";
}

std::string request_text(const char* path, const std::string& body, const char* version = "1.1") {
    return fmt::format("POST {} HTTP/{}\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", path, version,
                       body.size(), body);
}

/// The chunk of a chat's stream with this choice inside.
std::string chat_chunk(const std::string& choice) {
    return R"(data: {"id":"chatcmpl-000000000000002a0000002a","object":"chat.completion.chunk",)"
           R"("created":1750000000,"model":"tiny-coder","system_fingerprint":"cpu-1","choices":[)" +
           choice + "]}\n\n";
}

const std::string kHelloEvents =
    chat_chunk(R"({"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,)"
               R"("finish_reason":null})") +
    chat_chunk(R"({"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null})") +
    chat_chunk(R"({"index":0,"delta":{"content":"lo"},"logprobs":null,"finish_reason":null})") +
    chat_chunk(R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"})") +
    "data: [DONE]\n\n";

TEST(Stream, ExactBytes) {
    TestServer server;
    HttpClient client(server.port());
    client.send(request_text(kChat, chat_body("")));
    EXPECT_EQ(client.read_until("\r\n\r\n"),
              "HTTP/1.1 200 OK\r\nServer: potluck\r\nAccess-Control-Allow-Origin: *\r\n"
              "Connection: keep-alive\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
              "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    std::string chunks;
    for (std::size_t at = 0; at < kHelloEvents.size();) {  // one chunk per event
        const std::size_t size = kHelloEvents.find("\n\n", at) + 2 - at;
        chunks += fmt::format("{:x}\r\n{}\r\n", size, kHelloEvents.substr(at, size));
        at += size;
    }
    chunks += "0\r\n\r\n";
    const std::string rest = client.read_to_end();
    EXPECT_TRUE(rest.starts_with(chunks)) << rest;
    EXPECT_TRUE(rest.ends_with(R"({"status":"ready"})"));  // the connection went on
}

TEST(Stream, Http10GetsNoChunks) {
    TestServer server;
    HttpClient client(server.port());
    client.send(request_text(kChat, chat_body(""), "1.0"));
    const std::string all = client.read_to_end();
    EXPECT_NE(all.find("Connection: close\r\n"), std::string::npos);
    EXPECT_EQ(all.find("Transfer-Encoding"), std::string::npos);
    EXPECT_EQ(all.substr(all.find("\r\n\r\n") + 4), kHelloEvents);
}

TEST(Stream, UsageOnlyIfAsked) {
    TestServer server;
    HttpClient client(server.port());
    bool done_seen = false;
    const auto events =
        events_of(client.post(kChat, chat_body(R"("stream_options":{"include_usage":true})")).body,
                  &done_seen);
    EXPECT_TRUE(done_seen);
    ASSERT_EQ(events.size(), 5U);
    for (std::size_t i = 0; i < 4; ++i)
        EXPECT_TRUE(events[i].at("usage").is_null());
    EXPECT_TRUE(events[4].at("choices").as_array().empty());
    EXPECT_EQ(events[4].at("usage").at("completion_tokens"), 2);
    for (const auto& event : events_of(client.post(kChat, chat_body("")).body))
        EXPECT_FALSE(event.as_object().contains("usage"));
}

TEST(Stream, EveryChoiceBeginsAndEndsOnce) {
    TestServer server;
    const auto events =
        events_of(HttpClient(server.port()).post(kChat, chat_body(R"("n":3)")).body);
    for (int choice = 0; choice < 3; ++choice) {
        std::string text, roles, ends;
        for (const auto& event : events) {
            const auto& c = event.at("choices").at(0);
            if (c.at("index") != choice) continue;
            const auto& delta = c.at("delta").as_object();
            EXPECT_TRUE(ends.empty()) << "something after the end";
            if (delta.contains("role")) roles += delta.at("role").as_string();
            if (delta.contains("content")) text += delta.at("content").as_string();
            if (!c.at("finish_reason").is_null()) ends += c.at("finish_reason").as_string();
        }
        EXPECT_EQ(roles, "assistant");
        EXPECT_EQ(text, "Hello");
        EXPECT_EQ(ends, "stop");
    }
}

TEST(Stream, OfCompletionsHasNoRoles) {
    TestServer server;
    const auto events = events_of(
        HttpClient(server.port()).post(kCompletions, R"({"prompt":["a","b"],"stream":true})").body);
    std::string texts[2];
    for (const auto& event : events) {
        EXPECT_EQ(event.at("object"), "text_completion");
        const auto& choice = event.at("choices").at(0);
        EXPECT_FALSE(choice.as_object().contains("delta"));
        texts[choice.at("index").as_int64()] += choice.at("text").as_string();
    }
    EXPECT_EQ(texts[0], "Hello");
    EXPECT_EQ(texts[1], "Hello");
}

TEST(Stream, LogprobsComeWithTheirText) {
    TestServer server;
    const TokenId a = bundled_tokenizer()->encode("a", false, false).front();
    server.on_loop([&] {
        server.backend().script = [a](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{
                say(0, ""), say(0, "a", {{a, -0.5F, {}}}), say(0, "a", {{a, -1.5F, {}}}),
                finish(0, FinishReason::kLength), done({1, 2, 0})};
        };
    });
    HttpClient client(server.port());
    const auto chat = events_of(client.post(kChat, chat_body(R"("logprobs":true)")).body);
    ASSERT_EQ(chat.size(), 4U);  // role, two texts (the empty one is left out), end
    EXPECT_EQ(chat[2].at("choices").at(0).at("logprobs").at("content").at(0).at("logprob"), -1.5);
    EXPECT_TRUE(chat[3].at("choices").at(0).at("logprobs").is_null());
    const auto plain =
        events_of(client.post(kCompletions, R"({"prompt":"x","stream":true,"logprobs":0})").body);
    ASSERT_EQ(plain.size(), 3U);
    EXPECT_EQ(json::serialize(plain[1].at("choices").at(0).at("logprobs")),
              R"({"tokens":["a"],"token_logprobs":[-1.5E0],"top_logprobs":[null],)"
              R"("text_offset":[1]})");
}

// The rest of an answer may come from machines of another arithmetic class.
TEST(Stream, SaysWhatComputesTheRest) {
    TestServer server;
    FakeBackend& backend = server.backend();
    const auto changes = [&backend](std::string fingerprint) {
        return [&backend, fingerprint](GenerationSink& sink) {
            backend.served->fingerprint = fingerprint;
            sink.on_delta({.choice = 0, .text = "x"});
        };
    };
    server.on_loop([&] {
        backend.script = [changes](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{changes("cpu-1"),
                                                  changes("gpu-1"),
                                                  changes("cpu-1"),
                                                  changes("gpu-1"),
                                                  finish(0, FinishReason::kStop),
                                                  done({1, 4, 0})};
        };
    });
    HttpClient client(server.port());
    const auto events =
        events_of(client.post(kCompletions, R"({"prompt":"x","stream":true})").body);
    ASSERT_EQ(events.size(), 5U);
    EXPECT_EQ(events[0].at("system_fingerprint"), "cpu-1");
    EXPECT_EQ(events[1].at("system_fingerprint"), "cpu-1,gpu-1");
    EXPECT_EQ(events[4].at("system_fingerprint"), "cpu-1,gpu-1");
    server.on_loop([&] { backend.served->fingerprint = "cpu-1"; });
    const auto whole = client.post(kCompletions, R"({"prompt":"x"})").json();
    EXPECT_EQ(whole.at("system_fingerprint"), "cpu-1,gpu-1");
}

TEST(Stream, AnErrorInTheMiddleEndsIt) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{say(0, "so far"),
                                                  fail(ErrorCode::kPeerLost, "worker lost")};
        };
    });
    HttpClient client(server.port());
    const HttpResponse response = client.post(kChat, chat_body(""));
    EXPECT_EQ(response.status, 200U);
    bool done_seen = true;
    const auto events = events_of(response.body, &done_seen);
    EXPECT_FALSE(done_seen);
    EXPECT_EQ(events.back().at("error").at("message"), "worker lost");
    EXPECT_EQ(client.read_to_end(), "");  // closed
}

TEST(Stream, SilenceIsFilledWithComments) {
    ApiOptions options;
    options.keep_alive_interval = 10ms;
    TestServer server(options);
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{hang()};
        };
    });
    HttpClient client(server.port());
    client.send(request_text(kChat, chat_body("")));
    client.read_until("Transfer-Encoding: chunked\r\n\r\n");
    EXPECT_EQ(client.read_until("\n\n\r\n"), "e\r\n: keep-alive\n\n\r\n");
    EXPECT_EQ(client.read_until("\n\n\r\n"), "e\r\n: keep-alive\n\n\r\n");
}

TEST(Stream, AnUnreadStreamIsCutOff) {
    ApiOptions options;
    options.max_buffered_bytes = 64 << 10;
    TestServer server(options);
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            std::vector<FakeBackend::Step> steps;
            for (int i = 0; i < 3000; ++i)
                steps.push_back(say(0, std::string(10'000, 'x')));
            steps.push_back(hang());
            return steps;
        };
    });
    HttpClient client(server.port());
    client.send(request_text(kChat, chat_body("")));
    EXPECT_TRUE(server.eventually([&] { return server.backend().cancelled.size() == 1; }));
    EXPECT_EQ(HttpClient(server.port()).get("/health").status, 200U);
}

TEST(Stream, AStalledWriteTimesOut) {
    ApiOptions options;
    options.write_timeout = 50ms;
    options.max_buffered_bytes = std::size_t{64} << 20;
    TestServer server(options);
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            std::vector<FakeBackend::Step> steps;
            for (int i = 0; i < 30; ++i)
                steps.push_back(say(0, std::string(1'000'000, 'x')));
            steps.push_back(hang());
            return steps;
        };
    });
    HttpClient client(server.port());
    client.send(request_text(kChat, chat_body("")));
    EXPECT_TRUE(server.eventually([&] { return server.backend().cancelled.size() == 1; }));
}

}  // namespace
}  // namespace potluck::coordinator::test
