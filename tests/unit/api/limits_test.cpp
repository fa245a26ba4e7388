// Keys, limits, deadlines and bounds, as clients meet them.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>

#include "coordinator/api/keys.h"
#include "coordinator/api/server.h"
#include "fixture.h"

namespace potluck::coordinator::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kHi = R"({"prompt":[1,2,3],"max_tokens":50})";
constexpr const char* kHiStream = R"({"prompt":[1,2,3],"max_tokens":50,"stream":true})";

std::string line(const std::string& name, const std::string& secret,
                 const std::string& settings = "") {
    return api::key_line({name, api::hash_key(secret), {}}) + " " + settings + "\n";
}

/// A server with keys, whose time goes only when it is told to.
class KeyedServer {
  public:
    explicit KeyedServer(const std::string& keys, ApiOptions options = {})
        : file_(keys), server_(with_keys(std::move(options))) {}

    HttpClient client(const std::string& secret) {
        return HttpClient(server_.port(), secret.empty() ? "" : "Bearer " + secret);
    }
    void pass(std::chrono::milliseconds time) { passed_ms_ += time.count(); }
    TestServer& operator*() { return server_; }
    TestServer* operator->() { return &server_; }
    const ScratchFile& file() const { return file_; }
    void hang() {
        server_.on_loop([&] {
            server_.backend().script = [](const GenerationRequest&) {
                return std::vector<FakeBackend::Step>{test::hang()};
            };
        });
    }

  private:
    ApiOptions with_keys(ApiOptions options) {
        options.keys_file = file_.path();
        options.keys_interval = 5ms;
        options.now = [this] { return AdmissionTime{} + std::chrono::milliseconds(passed_ms_); };
        return options;
    }
    ScratchFile file_;
    std::atomic<std::int64_t> passed_ms_{0};
    TestServer server_;
};

std::string request_text(const std::string& body, const std::string& headers = "") {
    return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{}",
                       kCompletions, headers, body.size(), body);
}

TEST(Keys, NothingIsOpenButHealth) {
    KeyedServer server(line("alice", "secret-a"));
    EXPECT_EQ(server.client("").get("/health").status, 200U);
    EXPECT_EQ(server.client("wrong").get("/health").status, 200U);
    EXPECT_EQ(server.client("").get(kChat, "OPTIONS").status, 204U);
    for (const char* path :
         {"/v1/models", "/v1/models/tiny-coder", "/v1/cluster", "/v1/nothing", "/metrics", "/"}) {
        const HttpResponse refused = server.client("").get(path);
        EXPECT_EQ(refused.status, 401U) << path;
        EXPECT_EQ(refused.headers.at("www-authenticate"), "Bearer");
        EXPECT_EQ(refused.headers.at("connection"), "close");
        EXPECT_EQ(refused.error("type"), "invalid_request_error");
        EXPECT_EQ(refused.error("code"), "invalid_api_key");
        EXPECT_EQ(refused.error("param"), "null");
        EXPECT_NE(refused.error("message").find("You didn't provide an API key"),
                  std::string::npos);
        EXPECT_EQ(server.client("secret-b").get(path).status, 401U) << path;
        EXPECT_NE(server.client("secret-a").get(path).status, 401U) << path;
    }
    for (const char* path : {kChat, kCompletions}) {
        EXPECT_EQ(server.client("").post(path, "{").status, 401U);
        const HttpResponse refused = server.client("secret-a ecret").post(path, "{");
        EXPECT_EQ(refused.status, 401U);
        EXPECT_NE(refused.error("message").find("Incorrect API key"), std::string::npos);
        EXPECT_EQ(server.client("secret-a").post(path, "{").status, 400U);
    }
    EXPECT_EQ(server.client("secret-a").post(kCompletions, kHi).status, 200U);
}

TEST(Keys, OddHeadersLetNobodyIn) {
    KeyedServer server(line("alice", "secret-a"));
    const auto status = [&](const std::string& headers) {
        HttpClient client(server->port());
        client.send("GET /v1/models HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
        return client.read_response().status;
    };
    EXPECT_EQ(status("Authorization: Bearer secret-a\r\n"), 200U);
    EXPECT_EQ(status("authorization: bearer secret-a\r\n"), 200U);
    EXPECT_EQ(status("Authorization: secret-a\r\n"), 401U);
    EXPECT_EQ(status("Authorization: Basic secret-a\r\n"), 401U);
    EXPECT_EQ(status("X-Api-Key: secret-a\r\n"), 401U);
    EXPECT_EQ(status("Authorization: Bearer secret-a\r\nAuthorization: Bearer x\r\n"), 401U);
    EXPECT_EQ(status("Authorization: Bearer x\r\nAuthorization: Bearer secret-a\r\n"), 401U);
}

TEST(Keys, ABodyWithoutAKeyIsNotReadToItsEnd) {
    KeyedServer server(line("alice", "secret-a"));
    HttpClient client(server->port());
    client.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 16000000\r\n\r\n{");
    EXPECT_EQ(client.read_response().status, 401U);
}

TEST(Keys, RequestsSayWhoseTheyAre) {
    const std::string file = line("alice", "secret-a") + line("bob", "secret-b", "priority=batch");
    {
        KeyedServer server(file);
        EXPECT_EQ(server.client("secret-a").post(kCompletions, kHi).status, 200U);
        EXPECT_EQ(server.client("secret-b").post(kCompletions, kHi).status, 200U);
        server->on_loop([&] {
            EXPECT_EQ(server->backend().submitted.at(0).tenant, TenantId(1));
            EXPECT_EQ(server->backend().submitted.at(0).priority, Priority::kInteractive);
            EXPECT_EQ(server->backend().submitted.at(1).tenant, TenantId(2));
            EXPECT_EQ(server->backend().submitted.at(1).priority, Priority::kBatch);
        });
    }
    ApiOptions options;
    options.share_prefixes = true;
    KeyedServer shared(file, options);
    EXPECT_EQ(shared.client("secret-b").post(kCompletions, kHi).status, 200U);
    shared->on_loop([&] {
        EXPECT_EQ(shared->backend().submitted.at(0).tenant, TenantId(0));
        EXPECT_EQ(shared->backend().submitted.at(0).priority, Priority::kBatch);
    });
    TestServer open;
    EXPECT_EQ(HttpClient(open.port()).post(kCompletions, kHi).status, 200U);
    open.on_loop([&] { EXPECT_EQ(open.backend().submitted.at(0).tenant, TenantId(0)); });
}

TEST(Keys, AreReadAgainWhenTheFileChanges) {
    KeyedServer server(line("alice", "secret-a"));
    server.hang();
    HttpClient running = server.client("secret-a");
    running.send(request_text(kHi, "Authorization: Bearer secret-a\r\n"));
    ASSERT_TRUE(server->eventually([&] { return server->backend().running() == 1; }));
    const auto status = [&](const std::string& secret) {
        return server.client(secret).get("/v1/models").status;
    };
    const auto becomes = [&](const std::string& secret, unsigned wanted) {
        for (int i = 0; i < 2000; ++i) {
            if (status(secret) == wanted) return true;
            std::this_thread::sleep_for(2ms);
        }
        return false;
    };
    server.file().replace(line("bob", "secret-b"));
    EXPECT_TRUE(becomes("secret-b", 200));
    EXPECT_EQ(status("secret-a"), 401U);
    // A broken file changes nothing …
    server.file().replace("bob\n");
    server->on_loop([&] { server->api().reload_keys(); });
    server.file().replace(line("carol", "secret-c") + "?\n");
    server->on_loop([&] { server->api().reload_keys(); });
    std::this_thread::sleep_for(20ms);
    EXPECT_EQ(status("secret-b"), 200U);
    EXPECT_EQ(status("secret-c"), 401U);
    // … until it is mended.
    server.file().replace(line("carol", "secret-c"));
    EXPECT_TRUE(becomes("secret-c", 200));
    EXPECT_EQ(status("secret-b"), 401U);
    // What alice's key asked for is still being answered.
    server->on_loop([&] {
        EXPECT_EQ(server->backend().running(), 1U);
        EXPECT_TRUE(server->backend().cancelled.empty());
    });
}

TEST(Keys, TheLastOneGoesAndNobodyGetsIn) {
    KeyedServer server(line("alice", "secret-a"));
    server.file().replace("# nobody\n");
    for (int i = 0; i < 2000; ++i) {
        if (server.client("secret-a").get("/v1/models").status == 401U) {
            EXPECT_EQ(server.client("").get("/v1/models").status, 401U);
            return;
        }
        std::this_thread::sleep_for(2ms);
    }
    FAIL() << "a key that is no longer in the file still opens";
}

TEST(Keys, OpenAddressesNeedThem) {
    boost::asio::io_context loop;
    FakeBackend backend(loop);
    const ScratchFile keys(line("alice", "secret-a"));
    const ScratchFile broken("alice\n");
    ApiOptions options;
    options.address = "0.0.0.0:0";
    options.keys_file = keys.path();
    EXPECT_TRUE(ApiServer::start(loop, backend, options));
    options.keys_file = broken.path();
    const auto refused = ApiServer::start(loop, backend, options);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find(broken.path() + ":1:"), std::string::npos);
    options.keys_file = broken.path() + "-missing";
    ASSERT_FALSE(ApiServer::start(loop, backend, options));
    options.keys_file = "";
    ASSERT_FALSE(ApiServer::start(loop, backend, options));
    options.insecure_no_keys = true;
    EXPECT_TRUE(ApiServer::start(loop, backend, options));
}

TEST(Limits, RequestsAtOnce) {
    KeyedServer server(line("alice", "a", "max_requests=1") + line("bob", "b"));
    server.hang();
    server->on_loop([&] { server->backend().retry_after_now = 7s; });
    HttpClient first = server.client("a");
    first.send(request_text(kHi, "Authorization: Bearer a\r\n"));
    ASSERT_TRUE(server->eventually([&] { return server->backend().running() == 1; }));
    HttpClient second = server.client("a");
    const HttpResponse refused = second.post(kCompletions, kHi);
    EXPECT_EQ(refused.status, 429U);
    EXPECT_EQ(refused.headers.at("retry-after"), "7");
    EXPECT_EQ(refused.error("type"), "requests");
    EXPECT_EQ(refused.error("code"), "rate_limit_exceeded");
    EXPECT_NE(refused.error("message").find("'alice' on requests at once: limit 1"),
              std::string::npos);
    server->on_loop([&] { server->backend().script = nullptr; });
    EXPECT_EQ(server.client("b").post(kCompletions, kHi).status, 200U);
    // The place comes back: after hanging up, after an answer, after an error.
    first.hang_up();
    ASSERT_TRUE(server->eventually([&] { return server->backend().running() == 0; }));
    for (const char* body : {kHi, kHiStream, R"({"prompt":5})", "{", kHi})
        EXPECT_NE(second.post(kCompletions, body).status, 429U) << body;
}

TEST(Limits, RequestsPerMinute) {
    KeyedServer server(line("alice", "a", "requests_per_minute=2"));
    HttpClient client = server.client("a");
    const HttpResponse first = client.post(kCompletions, kHi);
    EXPECT_EQ(first.status, 200U);
    EXPECT_EQ(first.headers.at("x-ratelimit-limit-requests"), "2");
    EXPECT_EQ(first.headers.at("x-ratelimit-remaining-requests"), "1");
    EXPECT_EQ(first.headers.at("x-ratelimit-reset-requests"), "30s");
    EXPECT_FALSE(first.headers.contains("x-ratelimit-limit-tokens"));
    EXPECT_EQ(client.post(kCompletions, kHiStream).headers.at("x-ratelimit-remaining-requests"),
              "0");
    server.pass(9'500ms);
    const HttpResponse refused = client.post(kCompletions, kHi);
    EXPECT_EQ(refused.status, 429U);
    EXPECT_EQ(refused.headers.at("retry-after"), "21");
    EXPECT_EQ(refused.headers.at("x-ratelimit-remaining-requests"), "0");
    EXPECT_EQ(client.get("/v1/models").status, 200U);  // costs nothing
    server.pass(20'500ms);
    EXPECT_EQ(client.post(kCompletions, kHi).status, 200U);
}

TEST(Limits, TokensOfPromptsAndAnswers) {
    KeyedServer server(line("alice", "a", "tokens_per_minute=60"));
    server->on_loop([&] {
        server->backend().script = [](const GenerationRequest& request) {
            return std::vector<FakeBackend::Step>{
                say(0, "x", {{1, 0, {}}, {2, 0, {}}}), finish(0, FinishReason::kStop),
                done({static_cast<std::uint32_t>(request.prompt.size()), 7, 0})};
        };
    });
    HttpClient client = server.client("a");
    const HttpResponse whole = client.post(kCompletions, kHi);  // 3 of the prompt, 7 made
    EXPECT_EQ(whole.headers.at("x-ratelimit-limit-tokens"), "60");
    EXPECT_EQ(whole.headers.at("x-ratelimit-remaining-tokens"), "50");
    EXPECT_EQ(whole.headers.at("x-ratelimit-reset-tokens"), "10s");
    EXPECT_EQ(client.post(kCompletions, kHiStream).status, 200U);
    const std::string many = "[" + [] {
        std::string list = "1";
        for (int i = 1; i < 41; ++i)
            list += ",1";
        return list;
    }() + "]";
    const HttpResponse refused = client.post(kCompletions, R"({"prompt":)" + many + "}");
    EXPECT_EQ(refused.status, 429U);  // 41 of 40
    EXPECT_EQ(refused.headers.at("retry-after"), "1");
    EXPECT_EQ(refused.error("type"), "tokens");
    EXPECT_EQ(refused.headers.at("x-ratelimit-remaining-tokens"), "40");
    server.pass(1s);
    EXPECT_EQ(client.post(kCompletions, R"({"prompt":)" + many + "}").status, 200U);
    // In debt by the seven that were made.
    const HttpResponse in_debt = client.post(kCompletions, kHi);
    EXPECT_EQ(in_debt.status, 429U);
    EXPECT_EQ(in_debt.headers.at("retry-after"), "8");
    EXPECT_EQ(in_debt.headers.at("x-ratelimit-remaining-tokens"), "0");
}

TEST(Limits, TokensOfAnAnswerThatNobodyWaitsForCount) {
    KeyedServer server(line("alice", "a", "tokens_per_minute=60"));
    server->on_loop([&] {
        server->backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{
                say(0, "x", std::vector<TokenReport>(20, TokenReport{1, 0, {}})), hang()};
        };
    });
    HttpClient client = server.client("a");
    client.send(request_text(kHiStream, "Authorization: Bearer a\r\n"));
    client.read_until("\"x\"");
    client.hang_up();
    ASSERT_TRUE(server->eventually([&] { return server->backend().cancelled.size() == 1; }));
    EXPECT_EQ(server.client("a").get("/v1/models").headers.at("x-ratelimit-remaining-tokens"),
              "37");
}

TEST(Limits, TokensPerRequest) {
    KeyedServer server(line("alice", "a", "max_tokens=20"));
    HttpClient client = server.client("a");
    const auto asked = [&](const std::string& body) {
        const HttpResponse response = client.post(kCompletions, body);
        if (response.status != 200) return response.error("code");
        return server->on_loop(
            [&] { return std::to_string(server->backend().submitted.back().max_tokens); });
    };
    EXPECT_EQ(asked(R"({"prompt":[1,2,3],"max_tokens":5})"), "5");
    EXPECT_EQ(asked(kHi), "17");
    EXPECT_EQ(asked(R"({"prompt":[1,2,3],"max_tokens":50,"n":4})"), "4");
    EXPECT_EQ(asked(R"({"prompt":[[1,2,3],[4]],"max_tokens":50,"n":8})"), "1");
    EXPECT_EQ(asked(R"({"prompt":[[1,2,3],[4,5]],"max_tokens":50,"n":8})"),
              "tokens_per_request_exceeded");
    EXPECT_EQ(client.post(kChat, R"({"messages":[{"role":"user","content":"hi"}]})").status, 200U);
    server->on_loop([&] {
        const GenerationRequest& chat = server->backend().submitted.back();
        EXPECT_EQ(chat.prompt.size() + chat.max_tokens, 20U);  // else as many as the context holds
    });
}

TEST(Limits, AFullQueueSaysWhenToComeBack) {
    TestServer server;
    server.on_loop([&] {
        server.backend().submit_error = Error{ErrorCode::kResourceExhausted, "256 are waiting"};
        server.backend().retry_after_now = 42s;
    });
    HttpClient client(server.port());
    for (const char* body : {kHi, kHiStream}) {
        const HttpResponse refused = client.post(kCompletions, body);
        EXPECT_EQ(refused.status, 429U);
        EXPECT_EQ(refused.headers.at("retry-after"), "42");
        EXPECT_EQ(refused.error("type"), "rate_limit_error");
        EXPECT_EQ(refused.error("code"), "resource_exhausted");
    }
    server.on_loop([&] { server.backend().retry_after_now = 0s; });
    EXPECT_EQ(client.post(kCompletions, kHi).headers.at("retry-after"), "1");
}

TEST(Deadlines, ARequestWaitsOnlySoLongForItsFirstToken) {
    ApiOptions options;
    options.queue_timeout = 30ms;
    TestServer server(options);
    server.on_loop([&] {
        server.backend().retry_after_now = 5s;
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{hang()};
        };
    });
    HttpClient client(server.port());
    std::size_t asked = 0;
    for (const char* body : {kHi, kHiStream}) {
        const HttpResponse late = client.post(kCompletions, body);
        EXPECT_EQ(late.status, 429U);
        EXPECT_EQ(late.error("code"), "queue_timeout");
        EXPECT_EQ(late.headers.at("retry-after"), "5");
        ++asked;
        EXPECT_TRUE(server.eventually([&] { return server.backend().cancelled.size() == asked; }));
    }
    // With a first token it goes on.
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{say(0, "x"), hang()};
        };
    });
    HttpClient begun(server.port());
    begun.send(request_text(kHi));
    HttpClient other(server.port());
    other.send(request_text(kHiStream));
    other.read_until("\"x\"");
    std::this_thread::sleep_for(60ms);
    server.on_loop([&] { EXPECT_EQ(server.backend().running(), 2U); });
}

TEST(Deadlines, AKeyMayWaitLess) {
    KeyedServer server(line("alice", "a", "max_queue_seconds=1") + line("bob", "b"));
    server.hang();
    HttpClient bob = server.client("b");
    bob.send(request_text(kHi, "Authorization: Bearer b\r\n"));
    EXPECT_EQ(server.client("a").post(kCompletions, kHi).error("code"), "queue_timeout");
    ASSERT_TRUE(server->eventually([&] { return server->backend().cancelled.size() == 1; }));
    server->on_loop([&] { EXPECT_EQ(server->backend().running(), 1U); });
}

TEST(Deadlines, AnAnswerTakesOnlySoLong) {
    ApiOptions options;
    options.request_timeout = 50ms;
    TestServer server(options);
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{say(0, "so far"), hang()};
        };
    });
    HttpClient client(server.port());
    const HttpResponse whole = client.post(kCompletions, kHi);
    EXPECT_EQ(whole.status, 504U);
    EXPECT_EQ(whole.error("code"), "timed_out");
    HttpClient reader(server.port());
    const HttpResponse stream = reader.post(kCompletions, kHiStream);
    EXPECT_EQ(stream.status, 200U);
    bool done_seen = true;
    const auto events = events_of(stream.body, &done_seen);
    EXPECT_FALSE(done_seen);
    EXPECT_EQ(events.back().at("error").at("code"), "timed_out");
    EXPECT_TRUE(server.eventually([&] { return server.backend().cancelled.size() == 2; }));
    server.on_loop([&] { server.backend().script = nullptr; });
    EXPECT_EQ(client.post(kCompletions, kHi).status, 200U);  // the connection goes on
    std::this_thread::sleep_for(100ms);                      // and the old deadline is nobody's
    EXPECT_EQ(client.post(kCompletions, kHi).status, 200U);
}

TEST(Bounds, BodiesOfAllRequestsTogether) {
    ApiOptions options;
    options.max_total_body_bytes = 1'000'000;
    TestServer server(options);
    const std::string padding(300'000, ' ');
    HttpClient first(server.port());
    HttpClient second(server.port());
    // Two of 400 kB are held; one of 300 kB does not fit beside them.
    for (HttpClient* client : {&first, &second}) {
        client->send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n");
        client->send(std::string(400'000, ' '));
    }
    ASSERT_TRUE(server.eventually([&] { return server.api().body_bytes() == 800'000; }));
    const HttpResponse refused = HttpClient(server.port()).post(kCompletions, kHi + padding);
    EXPECT_EQ(refused.status, 503U);
    EXPECT_EQ(refused.error("code"), "overloaded");
    EXPECT_EQ(refused.headers.at("retry-after"), "1");
    EXPECT_EQ(refused.headers.at("connection"), "close");
    // Small ones still fit. Whoever goes, or is answered, gives their share back.
    EXPECT_EQ(HttpClient(server.port()).post(kCompletions, kHi).status, 200U);
    first.hang_up();
    EXPECT_TRUE(server.eventually([&] { return server.api().body_bytes() == 400'000; }));
    second.send(std::string(100'000 - std::string_view(kHi).size(), ' ') + kHi);
    EXPECT_EQ(second.read_response().status, 200U);
    HttpClient third(server.port());
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(third.post(kCompletions, kHi + padding + padding).status, 200U);
    HttpClient chunked(server.port());
    chunked.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 4; ++i)
        chunked.send(fmt::format("{:x}\r\n{}\r\n", padding.size(), padding));
    EXPECT_EQ(chunked.read_response().status, 503U);
    EXPECT_TRUE(server.eventually([&] { return server.api().body_bytes() == 0; }));
}

TEST(HangingUp, IsSeenBehindAnotherRequest) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{hang()};
        };
    });
    HttpClient client(server.port());
    client.send(request_text(kHi) + request_text(kHi));
    ASSERT_TRUE(server.eventually([&] { return server.backend().running() == 1; }));
    client.hang_up();
    EXPECT_TRUE(server.eventually([&] { return server.backend().running() == 0; }));
    server.on_loop([&] { EXPECT_EQ(server.backend().submitted.size(), 1U); });
}

TEST(HangingUp, BeforeAnythingWasAskedLeavesNothing) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest&) {
            return std::vector<FakeBackend::Step>{hang()};
        };
    });
    for (int i = 0; i < 50; ++i) {
        HttpClient client(server.port());
        client.send(request_text(kHi));
        client.hang_up();
    }
    EXPECT_EQ(HttpClient(server.port()).get("/health").status, 200U);
    EXPECT_TRUE(server.eventually([&] {
        const FakeBackend& backend = server.backend();
        return backend.running() == 0 && backend.cancelled.size() == backend.submitted.size();
    }));
}

TEST(Usage, CachedTokensInEveryForm) {
    TestServer server;
    server.on_loop([&] {
        server.backend().script = [](const GenerationRequest& request) {
            const auto size = static_cast<std::uint32_t>(request.prompt.size());
            return std::vector<FakeBackend::Step>{say(0, "x"), finish(0, FinishReason::kStop),
                                                  done({size, 1, size - 1})};
        };
    });
    HttpClient client(server.port());
    const std::string chat = R"("messages":[{"role":"user","content":"hi"}])";
    const std::string text = R"("prompt":[[1,2,3],[4,5,6,7]])";
    for (const auto& [path, fields] : {std::pair{kChat, chat}, std::pair{kCompletions, text}}) {
        const auto whole = client.post(path, "{" + fields + "}").json().at("usage");
        const auto events = events_of(
            client
                .post(path,
                      "{" + fields + R"(,"stream":true,"stream_options":{"include_usage":true}})")
                .body);
        EXPECT_EQ(events.back().at("usage"), whole);
        const auto prompts = path == kChat ? 1 : 2;
        EXPECT_EQ(whole.at("prompt_tokens_details").at("cached_tokens").as_int64(),
                  whole.at("prompt_tokens").as_int64() - prompts);
        if (path == kCompletions) {
            EXPECT_EQ(whole.at("prompt_tokens"), 7);
        }
    }
}

TEST(Context, APromptThatDoesNotFitIsRefusedWithBothNumbers) {
    TestServer server;
    server.on_loop([&] { server.backend().served->context = 10; });
    HttpClient client(server.port());
    const std::string chat = R"({"messages":[{"role":"user","content":"one two three four"}]})";
    for (const auto& [path, body] :
         {std::pair{kChat, chat},
          std::pair{kCompletions, std::string(R"({"prompt":[[1],[1,2,3,4,5,6,7,8,9,10]]})")}}) {
        const HttpResponse refused = client.post(path, body);
        EXPECT_EQ(refused.status, 400U);
        EXPECT_EQ(refused.error("code"), "context_length_exceeded");
        EXPECT_EQ(refused.error("type"), "invalid_request_error");
        EXPECT_NE(refused.error("message").find("maximum context length is 10 tokens"),
                  std::string::npos);
        EXPECT_NE(refused.error("message").find("resulted in 1"), std::string::npos);
    }
    server.on_loop([&] { EXPECT_TRUE(server.backend().submitted.empty()); });
}

}  // namespace
}  // namespace potluck::coordinator::test
