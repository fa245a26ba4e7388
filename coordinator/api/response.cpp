#include "coordinator/api/response.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <boost/json/value.hpp>

namespace potluck::coordinator::api {

namespace json = boost::json;

namespace {

/// JSON has no infinity; OpenAI writes this for "practically impossible".
constexpr double kLeastLogprob = -9999;

std::string json_text(std::string_view text) {
    return json::serialize(json::string(text));
}

std::string number(float logprob) {
    const double value = std::isfinite(logprob) ? static_cast<double>(logprob) : kLeastLogprob;
    return fmt::format("{:.7g}", std::max(value, kLeastLogprob));
}

std::string_view name_of(FinishReason reason) {
    return reason == FinishReason::kLength ? "length" : "stop";
}

void append_element(std::string& list, std::string_view element) {
    if (!list.empty()) list += ',';
    list += element;
}

/// {"token":…,"logprob":…,"bytes":[…]} without the closing brace.
std::string chat_token(const AnswerFormat& format, TokenId token, float logprob) {
    const std::string bytes = format.tokenizer->piece(token, true);
    std::string list;
    for (const char c : bytes)
        append_element(list, std::to_string(static_cast<unsigned char>(c)));
    return fmt::format(R"({{"token":{},"logprob":{},"bytes":[{}])",
                       json_text(replace_invalid_utf8(bytes)), number(logprob), list);
}

/// The fields that open every answer and chunk, without the closing brace.
std::string head(const AnswerFormat& format, bool chunk) {
    const std::string_view object =
        !format.chat ? "text_completion" : (chunk ? "chat.completion.chunk" : "chat.completion");
    return fmt::format(R"({{"id":{},"object":"{}","created":{},"model":{},"system_fingerprint":{})",
                       json_text(format.id), object, format.created, json_text(format.model),
                       format.fingerprint.empty() ? "null" : json_text(format.fingerprint));
}

double milliseconds_of(std::chrono::nanoseconds time) {
    return std::chrono::duration<double, std::milli>(time).count();
}

std::string speculation_object(const SpeculationReport& report) {
    return fmt::format(R"({{"rounds":{},"drafted":{},"accepted":{},"drafted_at":[{}],)"
                       R"("accepted_at":[{}],"draft_ms":{:.3f},"verify_ms":{:.3f},)"
                       R"("rollback_ms":{:.3f},"debt_ms":{:.3f},"arm":{},"why":{},"reason":{}}})",
                       report.rounds, report.drafted, report.accepted,
                       fmt::join(report.drafted_at, ","), fmt::join(report.accepted_at, ","),
                       milliseconds_of(report.draft), milliseconds_of(report.verify),
                       milliseconds_of(report.rollback), milliseconds_of(report.debt),
                       json_text(report.arm), json_text(report.why), json_text(report.reason));
}

std::string usage_object(const Usage& usage) {
    std::string speculation;
    if (usage.speculation)
        speculation = ",\"speculation\":" + speculation_object(*usage.speculation);
    return fmt::format(R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
                       R"("prompt_tokens_details":{{"cached_tokens":{}}}{}}})",
                       usage.prompt_tokens, usage.completion_tokens,
                       std::uint64_t{usage.prompt_tokens} + usage.completion_tokens,
                       usage.cached_tokens, speculation);
}

std::string event(const AnswerFormat& format, std::string_view choices) {
    return fmt::format("data: {},\"choices\":[{}]{}}}\n\n", head(format, true), choices,
                       format.include_usage ? ",\"usage\":null" : "");
}

std::string chunk_choice(const AnswerFormat& format, std::uint32_t index, std::string_view content,
                         std::string_view logprobs, std::string_view finish) {
    return fmt::format(R"({{"index":{},{}{},"logprobs":{},"finish_reason":{}}})", index,
                       format.chat ? "\"delta\":" : "\"text\":", content, logprobs, finish);
}

json::object model_object(const ServedModel& model) {
    return {{"id", model.id},
            {"object", "model"},
            {"created", model.created},
            {"owned_by", "potluck"},
            {"context_length", model.context}};
}

}  // namespace

void LogprobsText::append(const AnswerFormat& format, std::span<const TokenReport> tokens) {
    for (const TokenReport& token : tokens) {
        if (format.chat)
            append_chat(format, token);
        else
            append_completion(format, token);
        ++count_;
    }
}

void LogprobsText::append_chat(const AnswerFormat& format, const TokenReport& token) {
    std::string top;
    for (const TokenLogprob& entry : token.top)
        append_element(top, chat_token(format, entry.token, entry.logprob) + "}");
    append_element(content_, chat_token(format, token.token, token.logprob) +
                                 fmt::format(R"(,"top_logprobs":[{}]}})", top));
}

void LogprobsText::append_completion(const AnswerFormat& format, const TokenReport& token) {
    const std::string bytes = format.tokenizer->piece(token.token, true);
    append_element(tokens_, json_text(replace_invalid_utf8(bytes)));
    append_element(values_, number(token.logprob));
    append_element(offsets_, std::to_string(text_offset_));
    // Characters, not bytes: whatever is no continuation byte begins one.
    text_offset_ += static_cast<std::size_t>(std::ranges::count_if(
        bytes, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
    // An object by token text, as OpenAI has it: of two tokens with one text the better one stays.
    json::object top;
    for (const TokenLogprob& entry : token.top)
        top.emplace(
            replace_invalid_utf8(format.tokenizer->piece(entry.token, true)),
            std::isfinite(entry.logprob) ? static_cast<double>(entry.logprob) : kLeastLogprob);
    append_element(top_, token.top.empty() ? "null" : json::serialize(top));
}

std::string LogprobsText::take(const AnswerFormat& format) {
    std::string out =
        format.chat
            ? fmt::format(R"({{"content":[{}],"refusal":null}})", content_)
            : fmt::format(
                  R"({{"tokens":[{}],"token_logprobs":[{}],"top_logprobs":[{}],"text_offset":[{}]}})",
                  tokens_, values_, top_, offsets_);
    for (std::string* list : {&content_, &tokens_, &values_, &top_, &offsets_})
        list->clear();
    count_ = 0;
    return out;
}

std::string answer_body(const AnswerFormat& format, std::span<ChoiceAnswer> choices,
                        const Usage& usage) {
    std::string list;
    for (std::size_t i = 0; i < choices.size(); ++i) {
        ChoiceAnswer& choice = choices[i];
        const std::string text = json_text(choice.text);
        const std::string content =
            format.chat
                ? fmt::format(R"("message":{{"role":"assistant","content":{},"refusal":null}})",
                              text)
                : fmt::format(R"("text":{})", text);
        append_element(
            list, fmt::format(R"({{"index":{},{},"logprobs":{},"finish_reason":"{}"}})", i, content,
                              format.logprobs ? choice.logprobs.take(format) : "null",
                              name_of(choice.finish.value_or(FinishReason::kStop))));
    }
    return fmt::format("{},\"choices\":[{}],\"usage\":{}}}", head(format, false), list,
                       usage_object(usage));
}

std::string role_event(const AnswerFormat& format, std::uint32_t choice) {
    return event(format, chunk_choice(format, choice, R"({"role":"assistant","content":""})",
                                      "null", "null"));
}

std::string text_event(const AnswerFormat& format, std::uint32_t choice, std::string_view text,
                       LogprobsText& logprobs) {
    const std::string content =
        format.chat ? fmt::format(R"({{"content":{}}})", json_text(text)) : json_text(text);
    return event(format, chunk_choice(format, choice, content,
                                      logprobs.empty() ? "null" : logprobs.take(format), "null"));
}

std::string finish_event(const AnswerFormat& format, std::uint32_t choice, FinishReason reason) {
    return event(format, chunk_choice(format, choice, format.chat ? "{}" : "\"\"", "null",
                                      json_text(name_of(reason))));
}

std::string usage_event(const AnswerFormat& format, const Usage& usage) {
    return fmt::format("data: {},\"choices\":[],\"usage\":{}}}\n\n", head(format, true),
                       usage_object(usage));
}

std::string error_event(const ApiError& error) {
    return "data: " + error_body(error) + "\n\n";
}

std::string models_body(const ServedModel* model) {
    json::array data;
    if (model != nullptr) data.emplace_back(model_object(*model));
    return json::serialize(json::object({{"object", "list"}, {"data", std::move(data)}}));
}

std::string model_body(const ServedModel& model) {
    return json::serialize(model_object(model));
}

std::string health_body(const Health& health) {
    const std::string status =
        health.ready ? "ready" : (health.status.empty() ? "not ready" : health.status);
    return json::serialize(json::object({{"status", status}}));
}

}  // namespace potluck::coordinator::api
