#include "coordinator/api/server.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "fixture.h"

namespace potluck::coordinator::test {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

constexpr const char* kHi = R"({"messages":[{"role":"user","content":"hi"}]})";

std::string chat_body(const std::string& fields) {
    return R"({"messages":[{"role":"user","content":"hi"}],)" + fields + "}";
}

TEST(Server, AnswersAChat) {
    TestServer server;
    const HttpResponse response = HttpClient(server.port()).post(kChat, kHi);
    EXPECT_EQ(response.status, 200U);
    EXPECT_EQ(response.headers.at("content-type"), "application/json");
    EXPECT_EQ(response.headers.at("access-control-allow-origin"), "*");
    const std::size_t prompt =
        server.on_loop([&] { return server.backend().submitted.at(0).prompt.size(); });
    EXPECT_EQ(
        response.body,
        fmt::format(R"({{"id":"chatcmpl-000000000000002a0000002a","object":"chat.completion",)"
                    R"("created":1750000000,"model":"tiny-coder","system_fingerprint":"cpu-1",)"
                    R"("choices":[{{"index":0,"message":{{"role":"assistant","content":"Hello",)"
                    R"("refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":)"
                    R"({{"prompt_tokens":{},"completion_tokens":2,"total_tokens":{},)"
                    R"("prompt_tokens_details":{{"cached_tokens":1}}}}}})",
                    prompt, prompt + 2));
}

TEST(Server, AnswersACompletion) {
    TestServer server;
    const HttpResponse response =
        HttpClient(server.port()).post(kCompletions, R"({"model":"tiny-coder","prompt":"def"})");
    EXPECT_EQ(response.status, 200U);
    EXPECT_EQ(response.json().at("object"), "text_completion");
    EXPECT_EQ(response.json().at("choices").at(0).at("text"), "Hello");
    server.on_loop([&] { EXPECT_EQ(server.backend().submitted.at(0).max_tokens, 16U); });
}

TEST(Server, DrawsASeedAndKeepsAGivenOne) {
    TestServer server;
    HttpClient client(server.port());
    client.post(kChat, kHi);
    client.post(kChat, chat_body(R"("seed":7)"));
    server.on_loop([&] {
        EXPECT_EQ(server.backend().submitted.at(0).sampler.seed, 42U);
        EXPECT_EQ(server.backend().submitted.at(1).sampler.seed, 7U);
    });
}

TEST(Server, SeveralPromptsAndChoicesAreOneAnswer) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest& request) {
            const auto size = static_cast<std::uint32_t>(request.prompt.size());
            return std::vector<FakeBackend::Step>{
                say(1, fmt::format("{}b", size)), say(0, fmt::format("{}a", size)),
                finish(0, FinishReason::kStop), finish(1, FinishReason::kLength),
                done({size, 4, 0})};
        };
    });
    const auto answer =
        HttpClient(server.port()).post(kCompletions, R"({"prompt":[[1],[2,3]],"n":2})").json();
    const auto& choices = answer.at("choices").as_array();
    ASSERT_EQ(choices.size(), 4U);
    const char* texts[] = {"1a", "1b", "2a", "2b"};
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(choices[i].at("index"), i);
        EXPECT_EQ(choices[i].at("text"), texts[i]);
        EXPECT_EQ(choices[i].at("finish_reason"), i % 2 == 0 ? "stop" : "length");
    }
    EXPECT_EQ(answer.at("usage").at("prompt_tokens"), 3);
    EXPECT_EQ(answer.at("usage").at("completion_tokens"), 8);
}

TEST(Server, LogprobsOfAChat) {
    TestServer server;
    const TokenId a = bundled_tokenizer()->encode("a", false, false).front();
    server.on_loop([&] {
        server.backend().script = [a](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{say(0, "a", {{a, -0.5F, {{a, -0.5F}}}}),
                                                  finish(0, FinishReason::kStop), done({1, 1, 0})};
        };
    });
    const auto answer = HttpClient(server.port())
                            .post(kChat, chat_body(R"("logprobs":true,"top_logprobs":1)"))
                            .json();
    EXPECT_EQ(answer.at("choices").at(0).at("logprobs"),
              boost::json::parse(R"({"content":[{"token":"a","logprob":-0.5,"bytes":[97],
                  "top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]}]}],"refusal":null})"));
    server.on_loop([&] {
        EXPECT_TRUE(server.backend().submitted.at(0).logprobs);
        EXPECT_EQ(server.backend().submitted.at(0).top_logprobs, 1);
    });
}

TEST(Server, ListsItsModel) {
    TestServer server;
    HttpClient client(server.port());
    const std::string model = R"({"id":"tiny-coder","object":"model","created":1700000000,)"
                              R"("owned_by":"potluck","context_length":2048})";
    EXPECT_EQ(client.get("/v1/models").body, R"({"object":"list","data":[)" + model + "]}");
    EXPECT_EQ(client.get("/v1/models/tiny-coder").body, model);
    EXPECT_EQ(client.get("/v1/models/tiny%2Dcoder?x").body, model);
    const HttpResponse missing = client.get("/v1/models/other");
    EXPECT_EQ(missing.status, 404U);
    EXPECT_EQ(missing.error("code"), "model_not_found");
}

TEST(Server, TellsItsHealth) {
    TestServer server;
    HttpClient client(server.port());
    EXPECT_EQ(client.get("/health").body, R"({"status":"ready"})");
    server.on_loop([&] {
        server.backend().health_now = {false, "loading 41 %"};
        server.backend().served.reset();
    });
    const HttpResponse loading = client.get("/health");
    EXPECT_EQ(loading.status, 503U);
    EXPECT_EQ(loading.body, R"({"status":"loading 41 %"})");
    EXPECT_EQ(client.get("/v1/models").body, R"({"object":"list","data":[]})");
    const HttpResponse refused = client.post(kChat, kHi);
    EXPECT_EQ(refused.status, 503U);
    EXPECT_EQ(refused.headers.at("retry-after"), "1");
    EXPECT_EQ(refused.error("message"), "no model is being served: loading 41 %");
}

TEST(Server, TellsItsMetrics) {
    TestServer server;
    server.on_loop([&] { server.backend().metrics_now = "potluck_ready 1\n"; });
    const HttpResponse told = HttpClient(server.port()).get("/metrics");
    EXPECT_EQ(told.status, 200U);
    EXPECT_EQ(told.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    EXPECT_EQ(told.body, "potluck_ready 1\n");
    EXPECT_EQ(HttpClient(server.port()).post("/metrics", "{}").status, 405U);
}

TEST(Server, TellsOfTheCluster) {
    TestServer server;
    server.on_loop([&] { server.backend().cluster_now = R"({"nodes":[]})"; });
    const HttpResponse told = HttpClient(server.port()).get("/v1/cluster");
    EXPECT_EQ(told.status, 200U);
    EXPECT_EQ(told.headers.at("content-type"), "application/json");
    EXPECT_EQ(told.body, R"({"nodes":[]})");
}

TEST(Server, HeadAndOptionsAndWrongMethods) {
    TestServer server;
    HttpClient client(server.port());
    const HttpResponse head = client.get("/health", "HEAD");
    EXPECT_EQ(head.status, 200U);
    EXPECT_EQ(head.headers.at("content-length"), "18");
    client.send(
        "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n"
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-a, x-b\r\n\r\n");
    const HttpResponse options = client.read_response();
    EXPECT_EQ(options.status, 204U);
    EXPECT_EQ(options.headers.at("access-control-allow-headers"), "x-a, x-b");
    EXPECT_EQ(options.headers.at("access-control-allow-methods"), "POST, OPTIONS");
    const HttpResponse wrong = client.get(kChat);
    EXPECT_EQ(wrong.status, 405U);
    EXPECT_EQ(wrong.headers.at("allow"), "POST, OPTIONS");
    EXPECT_EQ(client.get("/nothing").status, 404U);
    EXPECT_EQ(client.post("/health", "{}").status, 405U);
}

TEST(Server, ManyRequestsOnOneConnection) {
    TestServer server;
    HttpClient client(server.port());
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(client.post(kChat, kHi).status, 200U);
        EXPECT_EQ(client.post(kChat, chat_body(R"("stream":true)")).status, 200U);
        EXPECT_EQ(client.post(kChat, "{").status, 400U);
    }
    server.on_loop([&] {
        EXPECT_EQ(server.backend().submitted.size(), 40U);
        EXPECT_TRUE(server.backend().cancelled.empty());
    });
}

TEST(Server, ARequestThatComesTooEarlyWaitsItsTurn) {
    TestServer server;
    HttpClient client(server.port());
    const std::string request =
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", kChat,
                    std::string_view(kHi).size(), kHi);
    client.send(request + request + "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(client.read_response().status, 200U);
    EXPECT_EQ(client.read_response().status, 200U);
    EXPECT_EQ(client.read_response().body, R"({"status":"ready"})");
}

TEST(Server, Http10ClosesUnlessAsked) {
    TestServer server;
    HttpClient client(server.port());
    client.send("GET /health HTTP/1.0\r\n\r\n");
    const std::string all = client.read_to_end();
    EXPECT_NE(all.find("Connection: close"), std::string::npos);
    EXPECT_TRUE(all.ends_with(R"({"status":"ready"})"));
    HttpClient kept(server.port());
    kept.send("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_EQ(kept.read_response().headers.at("connection"), "keep-alive");
    EXPECT_EQ(kept.get("/health").status, 200U);
}

TEST(Server, BodiesInChunksAndAfterContinue) {
    TestServer server;
    HttpClient client(server.port());
    client.send(
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", kChat));
    for (const char c : std::string_view(kHi))
        client.send(fmt::format("1\r\n{}\r\n", c));
    client.send("0\r\n\r\n");
    EXPECT_EQ(client.read_response().status, 200U);
    client.send(fmt::format(
        "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", kChat,
        std::string_view(kHi).size()));
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(kHi);
    EXPECT_EQ(client.read_response().status, 200U);
}

TEST(Server, BigBodiesAreTakenAndTooBigOnesRefused) {
    ApiOptions options;
    options.max_body_bytes = std::size_t{2} << 20;
    TestServer server(options);
    HttpClient client(server.port());
    const std::string big(std::size_t{1} << 20, ' ');
    EXPECT_EQ(client.post(kChat, kHi + big).status, 200U);
    const std::string words = R"({"prompt":")" + std::string(100'000, 'a') + R"("})";
    EXPECT_EQ(client.post(kCompletions, words).error("code"), "context_length_exceeded");
    const HttpResponse refused = client.post(kChat, kHi + big + big);
    EXPECT_EQ(refused.status, 413U);
    EXPECT_EQ(refused.headers.at("connection"), "close");
    HttpClient chunks(server.port());
    chunks.send(
        fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", kChat));
    for (int i = 0; i < 3; ++i)
        chunks.send(fmt::format("{:x}\r\n{}\r\n", big.size(), big));
    EXPECT_EQ(chunks.read_response().status, 413U);
}

TEST(Server, LongHeadersAreRefused) {
    TestServer server;
    HttpClient client(server.port());
    client.send("GET /health HTTP/1.1\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n");
    EXPECT_EQ(client.read_response().status, 431U);
}

TEST(Server, GarbageIsRefused) {
    TestServer server;
    for (const std::string& garbage :
         {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello over TLS\r\n\r\n"s,
          std::string("GET\r\n\r\n"), std::string("GET /health HTTP/9.9\r\n\r\n"),
          std::string("POST /v1/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
          std::string("POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
          std::string("POST /v1/completions HTTP/1.1\r\nContent-Length: 3\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")}) {
        HttpClient client(server.port());
        client.send(garbage);
        EXPECT_EQ(client.read_response().status, 400U) << garbage;
        client.read_to_end();
    }
    HttpClient half(server.port());
    half.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{\"pro");
    half.hang_up();
    EXPECT_EQ(HttpClient(server.port()).get("/health").status, 200U);
}

TEST(Server, SlowRequestsTimeOut) {
    ApiOptions options;
    options.header_timeout = 50ms;
    options.body_timeout = 50ms;
    TestServer server(options);
    HttpClient head(server.port());
    head.send("GET /hea");
    EXPECT_EQ(head.read_response().status, 408U);
    HttpClient body(server.port());
    body.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 10\r\n\r\n{");
    EXPECT_EQ(body.read_response().status, 408U);
}

TEST(Server, IdleConnectionsAreClosedWithoutAWord) {
    ApiOptions options;
    options.idle_timeout = 500ms;  // longer than a busy machine keeps the client from asking
    TestServer server(options);
    HttpClient client(server.port());
    EXPECT_EQ(client.get("/health").status, 200U);
    EXPECT_EQ(client.read_to_end(), "");
}

TEST(Server, ErrorsOfRequestsNameTheField) {
    TestServer server;
    HttpClient client(server.port());
    const auto refusal = [&](const std::string& fields) {
        const HttpResponse response = client.post(kChat, chat_body(fields));
        return fmt::format("{} {} {}", response.status, response.error("param"),
                           response.error("code"));
    };
    EXPECT_EQ(refusal(R"("model":"gpt-4")"), "404 model model_not_found");
    EXPECT_EQ(refusal(R"("temperature":3)"), "400 temperature invalid_value");
    EXPECT_EQ(refusal(R"("logit_bias":{"4096":1})"), "400 logit_bias invalid_value");
    EXPECT_EQ(refusal(R"("tools":[{"type":"function"}])"), "400 tools unsupported_field");
    EXPECT_EQ(refusal(R"("cache_prompt":true)"), "400 cache_prompt unknown_field");
    EXPECT_EQ(client.post(kChat, "").error("code"), "invalid_json");
    server.on_loop([&] { EXPECT_TRUE(server.backend().submitted.empty()); });
}

TEST(Server, BackendErrorsBecomeStatuses) {
    TestServer server;
    HttpClient client(server.port());
    const auto status = [&](ErrorCode code, bool at_submit, bool stream) {
        server.on_loop([&] {
            FakeBackend& backend = server.backend();
            backend.submit_error.reset();
            if (at_submit) backend.submit_error = Error{code, "because"};
            backend.script = [code](const GenerationRequest&) {
                return std::vector<FakeBackend::Step>{fail(code, "because")};
            };
        });
        const HttpResponse response =
            client.post(kChat, chat_body(stream ? R"("stream":true)" : R"("stream":false)"));
        EXPECT_EQ(response.error("message"), "because");
        EXPECT_EQ(response.headers.contains("retry-after"),
                  response.status == 429 || response.status == 503);
        return response.status;
    };
    for (const bool at_submit : {true, false}) {
        for (const bool stream : {true, false}) {
            EXPECT_EQ(status(ErrorCode::kInvalidArgument, at_submit, stream), 400U);
            EXPECT_EQ(status(ErrorCode::kResourceExhausted, at_submit, stream), 429U);
            EXPECT_EQ(status(ErrorCode::kPeerLost, at_submit, stream), 503U);
            EXPECT_EQ(status(ErrorCode::kTimedOut, at_submit, stream), 504U);
            EXPECT_EQ(status(ErrorCode::kInternal, at_submit, stream), 500U);
        }
    }
    server.on_loop([&] { EXPECT_TRUE(server.backend().cancelled.empty()); });
}

TEST(Server, AHalfRefusedRequestFreesTheOtherHalf) {
    TestServer server;
    server.on_loop([&] {
        server.backend().submit_error = Error{ErrorCode::kResourceExhausted, "full"};
        server.backend().submits_before_error = 2;
    });
    EXPECT_EQ(HttpClient(server.port()).post(kCompletions, R"({"prompt":["a","b","c"]})").status,
              429U);
    server.on_loop([&] {
        EXPECT_EQ(server.backend().cancelled, (std::vector<std::uint64_t>{1, 2}));
        EXPECT_EQ(server.backend().running(), 0U);
    });
}

TEST(Server, OneFailedPromptFreesTheOthers) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest& request) {
            if (request.prompt.size() == 1) return std::vector<FakeBackend::Step>{hang()};
            return std::vector<FakeBackend::Step>{fail(ErrorCode::kPeerLost, "gone")};
        };
    });
    HttpClient client(server.port());
    EXPECT_EQ(client.post(kCompletions, R"({"prompt":[[1],[2,3],[4]]})").status, 503U);
    EXPECT_TRUE(server.eventually([&] { return server.backend().running() == 0; }));
    server.on_loop([&] {
        EXPECT_EQ(server.backend().cancelled, (std::vector<std::uint64_t>{1, 3}));
    });
    EXPECT_EQ(client.get("/health").status, 200U);
}

TEST(Server, HangingUpFreesTheRequest) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{say(0, "so far"), hang()};
        };
    });
    const std::string whole = kHi;
    const std::string streamed = chat_body(R"("stream":true)");
    for (const std::string& body : {whole, streamed}) {
        for (const bool with_reset : {false, true}) {
            HttpClient client(server.port());
            client.send(fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
                                    kChat, body.size(), body));
            ASSERT_TRUE(server.eventually([&] { return server.backend().running() == 1; }));
            if (body == streamed) client.read_until("so far");
            if (with_reset)
                client.reset();
            else
                client.hang_up();
            EXPECT_TRUE(server.eventually([&] { return server.backend().running() == 0; }));
        }
    }
    server.on_loop([&] { EXPECT_EQ(server.backend().cancelled.size(), 4U); });
}

TEST(Server, WholeAnswersAreBounded) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            std::vector<FakeBackend::Step> steps(7, say(0, std::string(10'000'000, 'x')));
            steps.push_back(hang());
            return steps;
        };
    });
    HttpClient client(server.port());
    const HttpResponse response = client.post(kChat, kHi);
    EXPECT_EQ(response.status, 400U);
    EXPECT_EQ(response.error("code"), "answer_too_large");
    EXPECT_TRUE(server.eventually([&] { return server.backend().cancelled.size() == 1; }));
    server.on_loop([&] { server.backend().script = nullptr; });
    EXPECT_EQ(client.post(kChat, kHi).status, 200U);
}

TEST(Server, StoppingFreesEverything) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{hang()};
        };
    });
    HttpClient busy(server.port());
    HttpClient idle(server.port());
    EXPECT_EQ(idle.get("/health").status, 200U);
    busy.send(fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", kChat,
                          std::string_view(kHi).size(), kHi));
    ASSERT_TRUE(server.eventually([&] { return server.backend().running() == 1; }));
    server.stop();
    EXPECT_EQ(busy.read_to_end(), "");
    EXPECT_EQ(idle.read_to_end(), "");
    server.on_loop([&] { EXPECT_EQ(server.backend().cancelled.size(), 1U); });
}

TEST(Server, ConnectionsAreBounded) {
    ApiOptions options;
    options.max_connections = 2;
    TestServer server(options);
    HttpClient a(server.port());
    auto b = std::make_unique<HttpClient>(server.port());
    EXPECT_EQ(a.get("/health").status, 200U);
    EXPECT_EQ(b->get("/health").status, 200U);
    HttpClient c(server.port());
    EXPECT_EQ(c.read_response().status, 503U);
    b.reset();
    for (int i = 0; i < 1000; ++i) {  // until the server has seen b's end
        HttpClient d(server.port());
        d.send("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        if (d.read_to_end().starts_with("HTTP/1.1 200")) return;
        std::this_thread::sleep_for(1ms);
    }
    FAIL() << "the place of a closed connection was never given away again";
}

TEST(ServerStart, RefusesWhatIsNotLoopback) {
    boost::asio::io_context loop;
    FakeBackend backend(loop);
    for (const char* address : {"0.0.0.0:0", "192.168.1.5:8080", "[::]:8080", "8.8.8.8:1"}) {
        ApiOptions options;
        options.address = address;
        const auto server = ApiServer::start(loop, backend, options);
        ASSERT_FALSE(server) << address;
        EXPECT_EQ(server.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(server.error().message.find("keys"), std::string::npos);
    }
    for (const char* address : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999", "localhost:x",
                                "example.org:80", ":80"}) {
        ApiOptions options;
        options.address = address;
        const auto server = ApiServer::start(loop, backend, options);
        ASSERT_FALSE(server) << address;
        EXPECT_EQ(server.error().code, ErrorCode::kInvalidArgument);
    }
}

TEST(ServerStart, SaysWhenThePortIsTaken) {
    boost::asio::io_context loop;
    FakeBackend backend(loop);
    ApiOptions options;
    options.address = "localhost:0";
    const auto first = ApiServer::start(loop, backend, options);
    ASSERT_TRUE(first) << first.error().message;
    EXPECT_EQ((*first)->url(), fmt::format("http://127.0.0.1:{}", (*first)->port()));
    options.address = fmt::format("127.0.0.1:{}", (*first)->port());
    const auto second = ApiServer::start(loop, backend, options);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kResourceExhausted);
    EXPECT_NE(second.error().message.find(std::to_string((*first)->port())), std::string::npos);
}

}  // namespace
}  // namespace potluck::coordinator::test
