// Nodes are taken out of use and back over HTTP, by those who may.

#include <gtest/gtest.h>

#include "coordinator/api/keys.h"
#include "fixture.h"

namespace potluck::coordinator::test {
namespace {

constexpr const char* kDrain = "/v1/cluster/drain";
constexpr const char* kUndrain = "/v1/cluster/undrain";

std::vector<std::string> drains(TestServer& server) {
    return server.on_loop([&] { return server.backend().drains; });
}

TEST(NodeChange, ReachesTheBackendAndItsWordsTheClient) {
    TestServer server;
    HttpClient client(server.port());
    const auto drained = client.post(kDrain, R"({"node":"attic"})");
    EXPECT_EQ(drained.status, 200U);
    EXPECT_EQ(drained.json().at("message"), "attic goes");
    EXPECT_EQ(client.post(kDrain, R"({"node":"attic","force":true})").status, 200U);
    EXPECT_EQ(client.post(kUndrain, R"({"node":"attic"})").json().at("message"), "attic comes");
    EXPECT_EQ(drains(server),
              (std::vector<std::string>{"drain attic", "force attic", "undrain attic"}));
}

TEST(NodeChange, ErrorsHaveTheirStatus) {
    TestServer server;
    const auto answer = [&](ErrorCode code) {
        server.on_loop([&] { server.backend().drain_error = Error{code, "why"}; });
        return HttpClient(server.port()).post(kDrain, R"({"node":"attic"})");
    };
    EXPECT_EQ(answer(ErrorCode::kNotFound).status, 404U);
    EXPECT_EQ(answer(ErrorCode::kNotFound).error("code"), "node_not_found");
    EXPECT_EQ(answer(ErrorCode::kResourceExhausted).status, 409U);
    EXPECT_EQ(answer(ErrorCode::kResourceExhausted).error("message"), "why");
    EXPECT_EQ(answer(ErrorCode::kCorrupt).status, 500U);
}

TEST(NodeChange, BadBodiesReachNobody) {
    TestServer server;
    struct Case {
        std::string body;
        unsigned status;
    };
    for (const Case& c :
         {Case{"", 400}, Case{"[]", 400}, Case{"{}", 400}, Case{R"({"node":7})", 400},
          Case{R"({"node":"a","forc":true})", 400}, Case{R"({"node":"a","force":1})", 400},
          Case{R"({"node":")" + std::string(5000, 'a') + R"("})", 413}})
        EXPECT_EQ(HttpClient(server.port()).post(kDrain, c.body).status, c.status) << c.body;
    EXPECT_EQ(HttpClient(server.port()).post(kUndrain, R"({"node":"a","force":true})").status,
              400U);
    EXPECT_EQ(HttpClient(server.port()).get(kDrain).status, 405U);
    EXPECT_TRUE(drains(server).empty());
}

TEST(NodeChange, IsNotForWebPages) {
    TestServer server;
    const auto answer = HttpClient(server.port())
                            .post(kDrain, R"({"node":"attic"})", "Origin: http://example.com\r\n");
    EXPECT_EQ(answer.status, 403U);
    EXPECT_TRUE(drains(server).empty());
}

TEST(NodeChange, NeedsAKeyThatMayWhereThereAreKeys) {
    const api::KeyHash ordinary = api::hash_key("ordinary");
    const ScratchFile keys(api::key_line({"me", api::hash_key("chief"), {.admin = true}}) + "\n" +
                           api::key_line({"you", ordinary, {}}) + "\n");
    ApiOptions options;
    options.keys_file = keys.path();
    TestServer server(std::move(options));
    const auto ask = [&](const std::string& shown) {
        return HttpClient(server.port(), shown).post(kDrain, R"({"node":"attic"})").status;
    };
    EXPECT_EQ(ask(""), 401U);
    EXPECT_EQ(ask("Bearer ordinary"), 403U);
    EXPECT_TRUE(drains(server).empty());
    EXPECT_EQ(ask("Bearer chief"), 200U);
}

}  // namespace
}  // namespace potluck::coordinator::test
