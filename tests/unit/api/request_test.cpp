#include "coordinator/api/request.h"

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include <boost/json/serialize.hpp>

namespace potluck::coordinator::api {
namespace {

std::string chat_with(const std::string& fields) {
    return R"({"messages":[{"role":"user","content":"hi"}])" +
           (fields.empty() ? "" : "," + fields) + "}";
}
std::string completion_with(const std::string& fields) {
    return R"({"prompt":"hi")" + (fields.empty() ? "" : "," + fields) + "}";
}

ChatRequest chat(const std::string& body) {
    auto request = parse_chat_request(body);
    EXPECT_TRUE(request) << body << ": " << (request ? "" : request.error().message);
    return request ? *request : ChatRequest{};
}
CompletionRequest completion(const std::string& body) {
    auto request = parse_completion_request(body);
    EXPECT_TRUE(request) << body << ": " << (request ? "" : request.error().message);
    return request ? *request : CompletionRequest{};
}

TEST(ChatRequest, DefaultsAreOpenAis) {
    const ChatRequest request = chat(chat_with(""));
    EXPECT_EQ(request.generation.model, "");
    EXPECT_EQ(request.generation.n, 1U);
    EXPECT_FALSE(request.generation.max_tokens);
    EXPECT_FALSE(request.generation.stream);
    EXPECT_FALSE(request.generation.logprobs);
    EXPECT_FALSE(request.generation.sampling.temperature);
    EXPECT_FALSE(request.generation.sampling.seed);
    EXPECT_EQ(boost::json::serialize(request.messages), R"([{"role":"user","content":"hi"}])");
}

TEST(ChatRequest, ReadsEveryField) {
    const GenerationFields h =
        chat(chat_with(R"("model":"m","temperature":0.5,"top_p":0.25,"min_p":0.125,"top_k":7,
            "repetition_penalty":1.5,"presence_penalty":-2,"frequency_penalty":2.0,
            "penalty_window":64,"seed":-5,"n":16,"max_completion_tokens":9,"stop":["a","b"],
            "stream":true,"stream_options":{"include_usage":true},"ignore_eos":true,
            "logprobs":true,"top_logprobs":20,"logit_bias":{"3":-100,"5":1.5})"))
            .generation;
    EXPECT_EQ(h.model, "m");
    EXPECT_EQ(h.sampling.temperature, 0.5F);
    EXPECT_EQ(h.sampling.top_p, 0.25F);
    EXPECT_EQ(h.sampling.min_p, 0.125F);
    EXPECT_EQ(h.sampling.top_k, 7);
    EXPECT_EQ(h.sampling.repetition_penalty, 1.5F);
    EXPECT_EQ(h.sampling.presence_penalty, -2.0F);
    EXPECT_EQ(h.sampling.frequency_penalty, 2.0F);
    EXPECT_EQ(h.sampling.penalty_window, 64);
    EXPECT_EQ(h.sampling.seed, -5);
    EXPECT_EQ(h.n, 16U);
    EXPECT_EQ(h.max_tokens, 9U);
    EXPECT_EQ(h.stop, (std::vector<std::string>{"a", "b"}));
    EXPECT_TRUE(h.stream && h.include_usage && h.ignore_eos && h.logprobs);
    EXPECT_EQ(h.top_logprobs, 20);
    EXPECT_EQ(h.sampling.logit_bias,
              (std::vector<std::pair<TokenId, float>>{{3, -100.0F}, {5, 1.5F}}));
}

TEST(ChatRequest, NullIsAbsent) {
    const ChatRequest request = chat(chat_with(
        R"("model":null,"stop":null,"temperature":null,"max_tokens":null,"logprobs":null,
           "tools":null,"tool_choice":null,"response_format":null,"seed":null,"logit_bias":null)"));
    EXPECT_FALSE(request.generation.sampling.temperature);
    EXPECT_TRUE(request.generation.stop.empty());
}

TEST(ChatRequest, NeutralValuesOfUnsupportedFieldsPass) {
    chat(chat_with(R"("tools":[],"tool_choice":"none","response_format":{"type":"text"},
        "modalities":["text"],"store":false,"user":"me","metadata":{"a":"b"},
        "service_tier":"auto","parallel_tool_calls":true,"top_logprobs":0)"));
}

TEST(ChatRequest, OtherNamesOfLlamaCpp) {
    const SamplingFields s =
        chat(chat_with(R"("repeat_penalty":1.25,"repeat_last_n":32)")).generation.sampling;
    EXPECT_EQ(s.repetition_penalty, 1.25F);
    EXPECT_EQ(s.penalty_window, 32);
    EXPECT_EQ(chat(chat_with(R"("repeat_last_n":-1)")).generation.sampling.penalty_window, 0);
    EXPECT_EQ(chat(chat_with(R"("top_k":-1)")).generation.sampling.top_k, 0);
    EXPECT_EQ(chat(chat_with(R"("n":2.0)")).generation.n, 2U);
}

TEST(ChatRequest, MessagesTakeTheFormOfTemplates) {
    const ChatRequest request = chat(R"({"messages":[
        {"role":"developer","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"Ann"},
        {"role":"assistant","content":"c","refusal":null,"tool_calls":[],"reasoning_content":"r"},
        {"role":"user","content":""}]})");
    EXPECT_EQ(boost::json::serialize(request.messages),
              R"([{"role":"system","content":"be brief"},)"
              R"({"role":"user","content":"ab","name":"Ann"},)"
              R"({"role":"assistant","content":"c","reasoning_content":"r"},)"
              R"({"role":"user","content":""}])");
}

TEST(ChatRequest, TemplateArgumentsAreKept) {
    const ChatRequest request =
        chat(chat_with(R"("chat_template_kwargs":{"enable_thinking":false})"));
    EXPECT_EQ(boost::json::serialize(request.template_args), R"({"enable_thinking":false})");
}

TEST(CompletionRequest, EveryFormOfPrompt) {
    EXPECT_EQ(completion(R"({"prompt":"x"})").prompts, (std::vector<Prompt>{"x"}));
    EXPECT_EQ(completion(R"({"prompt":["x","y"]})").prompts, (std::vector<Prompt>{"x", "y"}));
    using Ids = std::vector<TokenId>;
    EXPECT_EQ(completion(R"({"prompt":[1,2]})").prompts, (std::vector<Prompt>{Ids{1, 2}}));
    EXPECT_EQ(completion(R"({"prompt":[[1],[2,3]]})").prompts,
              (std::vector<Prompt>{Ids{1}, Ids{2, 3}}));
}

TEST(CompletionRequest, DefaultsAreOpenAis) {
    const GenerationFields g = completion(completion_with("")).generation;
    EXPECT_EQ(g.max_tokens, 16U);
    EXPECT_FALSE(g.logprobs);
    const GenerationFields with =
        completion(completion_with(R"("logprobs":0,"best_of":1)")).generation;
    EXPECT_TRUE(with.logprobs);
    EXPECT_EQ(with.top_logprobs, 0);
}

struct Refusal {
    const char* fields;  ///< beside the messages or the prompt
    const char* param;
    const char* code = "invalid_value";
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
    *out << refusal.fields;
}

class BothRefuse : public testing::TestWithParam<Refusal> {};
TEST_P(BothRefuse, NamingTheField) {
    const auto chat_result = parse_chat_request(chat_with(GetParam().fields));
    ASSERT_FALSE(chat_result);
    EXPECT_EQ(chat_result.error().status, 400U);
    EXPECT_EQ(chat_result.error().param, GetParam().param);
    EXPECT_EQ(chat_result.error().code, GetParam().code);
    const auto completion_result = parse_completion_request(completion_with(GetParam().fields));
    ASSERT_FALSE(completion_result);
    EXPECT_EQ(completion_result.error().param, GetParam().param);
    EXPECT_EQ(completion_result.error().code, GetParam().code);
    EXPECT_NE(completion_result.error().message.find(GetParam().param), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(
    , BothRefuse,
    testing::Values(
        Refusal{R"("model":5)", "model"}, Refusal{R"("temperature":"hot")", "temperature"},
        Refusal{R"("temperature":2.01)", "temperature"},
        Refusal{R"("temperature":-0.1)", "temperature"},
        Refusal{R"("temperature":1e999)", "temperature"}, Refusal{R"("top_p":1.5)", "top_p"},
        Refusal{R"("min_p":-1)", "min_p"}, Refusal{R"("top_k":-2)", "top_k"},
        Refusal{R"("top_k":1.5)", "top_k"}, Refusal{R"("top_k":4294967296)", "top_k"},
        Refusal{R"("repetition_penalty":0)", "repetition_penalty"},
        Refusal{R"("repetition_penalty":1,"repeat_penalty":1)", "repeat_penalty"},
        Refusal{R"("penalty_window":-1)", "penalty_window"},
        Refusal{R"("repeat_last_n":0)", "repeat_last_n"},
        Refusal{R"("presence_penalty":2.5)", "presence_penalty"},
        Refusal{R"("frequency_penalty":-2.5)", "frequency_penalty"},
        Refusal{R"("seed":1.5)", "seed"}, Refusal{R"("seed":18446744073709551615)", "seed"},
        Refusal{R"("n":0)", "n"}, Refusal{R"("n":17)", "n"}, Refusal{R"("n":true)", "n"},
        Refusal{R"("max_tokens":0)", "max_tokens"}, Refusal{R"("max_tokens":-1)", "max_tokens"},
        Refusal{R"("max_tokens":5,"max_completion_tokens":6)", "max_completion_tokens"},
        Refusal{R"("stop":"")", "stop"}, Refusal{R"("stop":[""])", "stop"},
        Refusal{R"("stop":5)", "stop"}, Refusal{R"("stop":[5])", "stop"},
        Refusal{R"("stop":["","","","","","","","","","","","","","","","",""])", "stop"},
        Refusal{R"("stream":1)", "stream"},
        Refusal{R"("stream_options":{"include_usage":true})", "stream_options"},
        Refusal{R"("stream":true,"stream_options":[])", "stream_options"},
        Refusal{R"("stream":true,"stream_options":{"include_usage":1})",
                "stream_options.include_usage"},
        Refusal{R"("stream":true,"stream_options":{"x":1})", "stream_options.x", "unknown_field"},
        Refusal{R"("ignore_eos":"yes")", "ignore_eos"}, Refusal{R"("logit_bias":[])", "logit_bias"},
        Refusal{R"("logit_bias":{"x":1})", "logit_bias"},
        Refusal{R"("logit_bias":{"-1":1})", "logit_bias"},
        Refusal{R"("logit_bias":{"1 ":1})", "logit_bias"},
        Refusal{R"("logit_bias":{"99999999999":1})", "logit_bias"},
        Refusal{R"("logit_bias":{"1":101})", "logit_bias"},
        Refusal{R"("logit_bias":{"1":"a"})", "logit_bias"},
        Refusal{R"("tools":[{}])", "tools", "unsupported_field"},
        Refusal{R"("tool_choice":"auto")", "tool_choice", "unsupported_field"},
        Refusal{R"("functions":[])", "functions", "unsupported_field"},
        Refusal{R"("function_call":"auto")", "function_call", "unsupported_field"},
        Refusal{R"("response_format":{"type":"json_object"})", "response_format",
                "unsupported_field"},
        Refusal{R"("audio":{})", "audio", "unsupported_field"},
        Refusal{R"("modalities":["text","audio"])", "modalities", "unsupported_field"},
        Refusal{R"("prediction":{})", "prediction", "unsupported_field"},
        Refusal{R"("web_search_options":{})", "web_search_options", "unsupported_field"},
        Refusal{R"("reasoning_effort":"low")", "reasoning_effort", "unsupported_field"},
        Refusal{R"("speculation":true)", "speculation"},
        Refusal{
            R"("speculation":"0123456789012345678901234567890123456789012345678901234567890123x")",
            "speculation"},
        Refusal{R"("store":true)", "store", "unsupported_field"},
        Refusal{R"("temprature":1)", "temprature", "unknown_field"}));

class ChatRefuses : public testing::TestWithParam<Refusal> {};
TEST_P(ChatRefuses, NamingTheField) {
    const auto result = parse_chat_request(GetParam().fields);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().status, 400U);
    EXPECT_EQ(result.error().param, GetParam().param);
    EXPECT_EQ(result.error().code, GetParam().code);
}
INSTANTIATE_TEST_SUITE_P(
    , ChatRefuses,
    testing::Values(
        Refusal{R"({})", "messages"}, Refusal{R"({"messages":[]})", "messages"},
        Refusal{R"({"messages":"hi"})", "messages"}, Refusal{R"({"messages":[1]})", "messages[0]"},
        Refusal{R"({"messages":[{"content":"x"}]})", "messages[0].role"},
        Refusal{R"({"messages":[{"role":"king","content":"x"}]})", "messages[0].role"},
        Refusal{R"({"messages":[{"role":"tool","content":"x"}]})", "messages[0].role",
                "unsupported_field"},
        Refusal{R"({"messages":[{"role":"user"}]})", "messages[0].content"},
        Refusal{R"({"messages":[{"role":"assistant","content":null}]})", "messages[0].content"},
        Refusal{R"({"messages":[{"role":"user","content":5}]})", "messages[0].content"},
        Refusal{R"({"messages":[{"role":"user","content":["x"]}]})", "messages[0].content[0]"},
        Refusal{R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
                "messages[0].content[0].text"},
        Refusal{R"({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]})",
                "messages[0].content[0].type", "unsupported_field"},
        Refusal{R"({"messages":[{"role":"user","content":"x","colour":1}]})", "messages[0].colour",
                "unknown_field"},
        Refusal{R"({"messages":[{"role":"assistant","content":"x","tool_calls":[{}]}]})",
                "messages[0].tool_calls", "unsupported_field"},
        Refusal{R"({"messages":[{"role":"user","content":"x"}],"top_logprobs":2})", "top_logprobs"},
        Refusal{R"({"messages":[{"role":"user","content":"x"}],"logprobs":true,"top_logprobs":21})",
                "top_logprobs"},
        Refusal{R"({"messages":[{"role":"user","content":"x"}],"logprobs":1})", "logprobs"},
        Refusal{R"({"messages":[{"role":"user","content":"x"}],"prompt":"x"})", "prompt",
                "unknown_field"},
        Refusal{R"({"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":[]})",
                "chat_template_kwargs"},
        Refusal{
            R"({"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":{"messages":1}})",
            "chat_template_kwargs"},
        Refusal{
            R"({"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":{"bos_token":1}})",
            "chat_template_kwargs"}));

class CompletionRefuses : public testing::TestWithParam<Refusal> {};
TEST_P(CompletionRefuses, NamingTheField) {
    const auto result = parse_completion_request(GetParam().fields);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().status, 400U);
    EXPECT_EQ(result.error().param, GetParam().param);
    EXPECT_EQ(result.error().code, GetParam().code);
}
INSTANTIATE_TEST_SUITE_P(
    , CompletionRefuses,
    testing::Values(
        Refusal{R"({})", "prompt"}, Refusal{R"({"prompt":5})", "prompt"},
        Refusal{R"({"prompt":[]})", "prompt"}, Refusal{R"({"prompt":[1,"a"]})", "prompt"},
        Refusal{R"({"prompt":["a",1]})", "prompt"}, Refusal{R"({"prompt":["a",[1]]})", "prompt"},
        Refusal{R"({"prompt":[-1]})", "prompt"}, Refusal{R"({"prompt":[1.5]})", "prompt"},
        Refusal{R"({"prompt":[2147483648]})", "prompt"},
        Refusal{R"({"prompt":"x","logprobs":21})", "logprobs"},
        Refusal{R"({"prompt":"x","logprobs":true})", "logprobs"},
        Refusal{R"({"prompt":"x","echo":true})", "echo", "unsupported_field"},
        Refusal{R"({"prompt":"x","suffix":"y"})", "suffix", "unsupported_field"},
        Refusal{R"({"prompt":"x","n":2,"best_of":1})", "best_of"},
        Refusal{R"({"prompt":"x","best_of":2})", "best_of", "unsupported_field"},
        Refusal{R"({"prompt":["a","b","c","d","e","f","g","h","i"],"n":16})", "n"}));

TEST(RequestBody, ThatIsNoJsonObject) {
    const std::string deep = R"({"prompt":)" + std::string(100, '[') + std::string(100, ']') + "}";
    for (const std::string& body :
         {std::string(), std::string("{"), std::string("[]"), std::string("5"), std::string("null"),
          std::string("{} {}"), std::string("{\"prompt\":\"\xFF\"}"),
          std::string("{\"prompt\":\"\\ud800\"}"), std::string(R"({"prompt":"x",})"),
          std::string("\0\1\2", 3), deep}) {
        for (const auto& error :
             {parse_chat_request(body).error(), parse_completion_request(body).error()}) {
            EXPECT_EQ(error.status, 400U) << body;
            EXPECT_EQ(error.code, "invalid_json") << body;
        }
    }
}

TEST(SamplerFrom, WhatIsNotSaidComesFromTheModel) {
    SamplerSpec defaults;
    defaults.temperature = 0.6F;
    defaults.top_k = 20;
    defaults.top_p = 0.95F;
    SamplingFields fields;
    fields.top_k = 0;
    fields.seed = -1;
    const SamplerSpec spec = sampler_from(fields, defaults);
    EXPECT_EQ(spec.temperature, 0.6F);
    EXPECT_EQ(spec.top_k, 0);
    EXPECT_EQ(spec.top_p, 0.95F);
    EXPECT_EQ(spec.seed, ~std::uint64_t{0});
}

}  // namespace
}  // namespace potluck::coordinator::api
