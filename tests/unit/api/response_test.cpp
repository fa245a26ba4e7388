#include "coordinator/api/response.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "coordinator/api/http_text.h"
#include "fixture.h"

namespace potluck::coordinator::api {
namespace {

AnswerFormat format(bool chat) {
    AnswerFormat f;
    f.chat = chat;
    f.id = "id-1";
    f.created = 1750000000;
    f.model = "m";
    f.tokenizer = test::bundled_tokenizer();
    return f;
}

TEST(Events, OfAChat) {
    LogprobsText none;
    AnswerFormat f = format(true);
    EXPECT_EQ(role_event(f, 0),
              "data: {\"id\":\"id-1\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,"
              "\"model\":\"m\",\"system_fingerprint\":null,\"choices\":[{\"index\":0,\"delta\":"
              "{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
              "\"finish_reason\":null}]}\n\n");
    f.fingerprint = "fp";
    f.include_usage = true;
    EXPECT_EQ(text_event(f, 1, "a\"\n", none),
              "data: {\"id\":\"id-1\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,"
              "\"model\":\"m\",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":1,\"delta\":"
              "{\"content\":\"a\\\"\\n\"},\"logprobs\":null,\"finish_reason\":null}],"
              "\"usage\":null}\n\n");
    EXPECT_EQ(
        finish_event(f, 1, FinishReason::kLength),
        "data: {\"id\":\"id-1\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,"
        "\"model\":\"m\",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":1,\"delta\":{},"
        "\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":null}\n\n");
    EXPECT_EQ(usage_event(f, {3, 4, 2}),
              "data: {\"id\":\"id-1\",\"object\":\"chat.completion.chunk\",\"created\":1750000000,"
              "\"model\":\"m\",\"system_fingerprint\":\"fp\",\"choices\":[],\"usage\":"
              "{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7,"
              "\"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\n");
}

TEST(Events, OfACompletion) {
    LogprobsText none;
    const AnswerFormat f = format(false);
    EXPECT_EQ(
        text_event(f, 0, "x", none),
        "data: {\"id\":\"id-1\",\"object\":\"text_completion\",\"created\":1750000000,"
        "\"model\":\"m\",\"system_fingerprint\":null,\"choices\":[{\"index\":0,\"text\":\"x\","
        "\"logprobs\":null,\"finish_reason\":null}]}\n\n");
    EXPECT_EQ(finish_event(f, 0, FinishReason::kStop),
              "data: {\"id\":\"id-1\",\"object\":\"text_completion\",\"created\":1750000000,"
              "\"model\":\"m\",\"system_fingerprint\":null,\"choices\":[{\"index\":0,\"text\":\"\","
              "\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n");
}

TEST(Bodies, OfBothKinds) {
    std::vector<ChoiceAnswer> choices(2);
    choices[0].text = "hé";
    choices[0].finish = FinishReason::kStop;
    choices[1].text = "b";
    choices[1].finish = FinishReason::kLength;
    EXPECT_EQ(answer_body(format(true), choices, {1, 2, 0}),
              R"({"id":"id-1","object":"chat.completion","created":1750000000,"model":"m",)"
              R"("system_fingerprint":null,"choices":[{"index":0,"message":{"role":"assistant",)"
              R"("content":"hé","refusal":null},"logprobs":null,"finish_reason":"stop"},)"
              R"({"index":1,"message":{"role":"assistant","content":"b","refusal":null},)"
              R"("logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":1,)"
              R"("completion_tokens":2,"total_tokens":3,"prompt_tokens_details":)"
              R"({"cached_tokens":0}}})");
    EXPECT_EQ(answer_body(format(false), std::span(choices).first(1), {1, 2, 0}),
              R"({"id":"id-1","object":"text_completion","created":1750000000,"model":"m",)"
              R"("system_fingerprint":null,"choices":[{"index":0,"text":"hé","logprobs":null,)"
              R"("finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,)"
              R"("total_tokens":3,"prompt_tokens_details":{"cached_tokens":0}}})");
}

TEST(Bodies, SayWhatSpeculationDid) {
    std::vector<ChoiceAnswer> choices(1);
    Usage usage{.prompt_tokens = 1, .completion_tokens = 2};
    usage.speculation = SpeculationReport{.rounds = 3,
                                          .drafted = 7,
                                          .accepted = 4,
                                          .drafted_at = {3, 2, 2},
                                          .accepted_at = {3, 1, 0},
                                          .debt = std::chrono::microseconds(-1500),
                                          .draft = std::chrono::microseconds(40),
                                          .verify = std::chrono::microseconds(30500),
                                          .rollback = std::chrono::microseconds(2000),
                                          .arm = "suffix 3",
                                          .why = "1.5 times \"as fast\"",
                                          .drafter = "suffix",
                                          .reason = "pays"};
    const std::string body = answer_body(format(false), choices, usage);
    EXPECT_TRUE(body.ends_with(
        R"("prompt_tokens_details":{"cached_tokens":0},"speculation":{"rounds":3,"drafted":7,)"
        R"("accepted":4,"drafted_at":[3,2,2],"accepted_at":[3,1,0],"draft_ms":0.040,)"
        R"("verify_ms":30.500,"rollback_ms":2.000,"debt_ms":-1.500,"arm":"suffix 3",)"
        R"("why":"1.5 times \"as fast\"","reason":"pays"}}})"))
        << body;
}

TEST(Logprobs, OfAChatCarryBytes) {
    AnswerFormat f = format(true);
    const auto a = f.tokenizer->encode("a", false, false);
    const auto e = f.tokenizer->encode("\xC3\xA9", false, false);  // é: one token or two halves
    ASSERT_EQ(a.size(), 1U);
    LogprobsText text;
    EXPECT_TRUE(text.empty());
    text.append(
        f, std::vector<TokenReport>{
               {a[0], -0.5F, {{a[0], -0.5F}, {4095, -std::numeric_limits<float>::infinity()}}}});
    EXPECT_FALSE(text.empty());
    const std::string eos(f.tokenizer->text(4095));
    std::string bytes;
    for (const char c : eos)
        bytes += (bytes.empty() ? "" : ",") + std::to_string(int{c});
    EXPECT_EQ(text.take(f),
              R"({"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[)"
              R"({"token":"a","logprob":-0.5,"bytes":[97]},{"token":")" +
                  eos + R"(","logprob":-9999,"bytes":[)" + bytes + R"(]}]}],"refusal":null})");
    EXPECT_TRUE(text.empty());
    EXPECT_EQ(text.bytes(), 0U);
}

TEST(Logprobs, OfACompletionCountCharacters) {
    const AnswerFormat f = format(false);
    std::vector<TokenReport> tokens;
    for (const TokenId id : f.tokenizer->encode("\xC3\xA9"
                                                "a",
                                                false, false))
        tokens.push_back({id, -1.0F, {}});
    LogprobsText text;
    text.append(f, tokens);
    const std::string first = text.take(f);
    const TokenId a = f.tokenizer->encode("a", false, false).front();
    text.append(f, std::vector<TokenReport>{{a, -0.25F, {{a, -0.25F}}}});
    EXPECT_EQ(text.take(f), R"({"tokens":["a"],"token_logprobs":[-0.25],"top_logprobs":)"
                            R"([{"a":-2.5E-1}],"text_offset":[2]})")
        << "after: " << first;
}

TEST(Utf8, InvalidBytesAreReplaced) {
    EXPECT_EQ(replace_invalid_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"),
              "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    const std::string r = "\xEF\xBF\xBD";
    EXPECT_EQ(replace_invalid_utf8("\xFF"), r);
    EXPECT_EQ(replace_invalid_utf8("\xC3"), r);
    EXPECT_EQ(replace_invalid_utf8("\xC3x"), r + "x");
    EXPECT_EQ(replace_invalid_utf8("\xC0\x80"), r + r);          // overlong
    EXPECT_EQ(replace_invalid_utf8("\xED\xA0\x80"), r + r + r);  // a surrogate
    EXPECT_EQ(replace_invalid_utf8("\xF4\x90\x80\x80"), r + r + r + r);
    EXPECT_EQ(replace_invalid_utf8(std::string_view("\0", 1)), std::string(1, '\0'));
}

TEST(Errors, HaveOpenAisShape) {
    EXPECT_EQ(error_body({400, "m", "t", "", ""}),
              R"({"error":{"message":"m","type":"t","param":null,"code":null}})");
    EXPECT_EQ(error_event({400, "m", "t", "p", "c"}),
              "data: {\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":\"p\",\"code\":\"c\"}}"
              "\n\n");
    using enum ErrorCode;
    EXPECT_EQ(from_error({kPeerLost, "m"}).code, "peer_lost");
    const auto status = [](ErrorCode code) { return from_error({code, "m"}).status; };
    EXPECT_EQ(status(kInvalidArgument), 400U);
    EXPECT_EQ(status(kResourceExhausted), 429U);
    EXPECT_EQ(status(kPeerLost), 503U);
    EXPECT_EQ(status(kTimedOut), 504U);
    for (const ErrorCode code : {kNotFound, kUnsupported, kCancelled, kCorrupt, kInternal})
        EXPECT_EQ(status(code), 500U);
}

TEST(HttpText, Responses) {
    EXPECT_EQ(response_text({404, "{}", {{"X", "y"}}}, {}),
              "HTTP/1.1 404 Not Found\r\nServer: potluck\r\nAccess-Control-Allow-Origin: *\r\n"
              "Connection: keep-alive\r\nX: y\r\nContent-Type: application/json\r\n"
              "Content-Length: 2\r\n\r\n{}");
    EXPECT_EQ(response_text({200, "{}", {}}, {.keep_alive = false, .head_only = true}),
              "HTTP/1.1 200 OK\r\nServer: potluck\r\nAccess-Control-Allow-Origin: *\r\n"
              "Connection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n");
    EXPECT_EQ(chunk("0123456789abcdef"), "10\r\n0123456789abcdef\r\n");
}

TEST(Routes, Lead) {
    const auto route = [](const char* method, const char* target) {
        return match_route(method, target).route;
    };
    EXPECT_EQ(route("POST", "/v1/chat/completions"), Route::kChat);
    EXPECT_EQ(route("POST", "/v1/completions?x=1"), Route::kCompletions);
    EXPECT_EQ(route("GET", "/v1/models"), Route::kModels);
    EXPECT_EQ(route("HEAD", "/health"), Route::kHealth);
    EXPECT_EQ(route("GET", "/v1/cluster"), Route::kCluster);
    EXPECT_EQ(route("POST", "/v1/cluster"), Route::kMethodNotAllowed);
    EXPECT_EQ(route("GET", "/metrics"), Route::kMetrics);
    EXPECT_EQ(route("POST", "/metrics"), Route::kMethodNotAllowed);
    EXPECT_EQ(match_route("GET", "/v1/models/a%2Fb%zz%4").argument, "a/b%zz%4");
    EXPECT_EQ(match_route("GET", "/v1/models/a/b").argument, "a/b");
    EXPECT_EQ(route("GET", "/v1/models/"), Route::kNotFound);
    EXPECT_EQ(route("OPTIONS", "/v1/models"), Route::kPreflight);
    EXPECT_EQ(route("OPTIONS", "/x"), Route::kNotFound);
    EXPECT_EQ(route("GET", "/v1/completions"), Route::kMethodNotAllowed);
    EXPECT_EQ(match_route("DELETE", "/health").allow, "GET, HEAD, OPTIONS");
    EXPECT_EQ(route("GET", ""), Route::kNotFound);
    EXPECT_EQ(route("GET", "http://127.0.0.1:8080/health"), Route::kHealth);
    EXPECT_EQ(route("GET", "http://127.0.0.1:8080"), Route::kNotFound);
    EXPECT_EQ(route("GET", "/V1/models"), Route::kNotFound);
}

}  // namespace
}  // namespace potluck::coordinator::api
