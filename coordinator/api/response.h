#pragma once

// The JSON of answers, whole and as server-sent events, in the shapes of OpenAI's API. Pure.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "coordinator/api/api_error.h"
#include "coordinator/api/backend.h"

namespace potluck::coordinator::api {

/// What is the same in every chunk of one answer.
struct AnswerFormat {
    bool chat = true;
    bool stream = false;
    bool include_usage = false;  ///< a last chunk with the usage; the others say "usage": null
    bool logprobs = false;
    std::string id;
    std::int64_t created = 0;
    std::string model;
    std::string fingerprint;
    std::shared_ptr<const model::Tokenizer> tokenizer;
};

/// The log-probabilities of one choice as JSON text, written as the tokens come, so that a long
/// answer costs the loop thread a little at a time.
class LogprobsText {
  public:
    void append(const AnswerFormat& format, std::span<const TokenReport> tokens);
    /// The whole `logprobs` object; what was appended is forgotten, offsets go on.
    std::string take(const AnswerFormat& format);
    bool empty() const { return count_ == 0; }
    std::size_t bytes() const {
        return content_.size() + tokens_.size() + values_.size() + top_.size() + offsets_.size();
    }

  private:
    void append_chat(const AnswerFormat& format, const TokenReport& token);
    void append_completion(const AnswerFormat& format, const TokenReport& token);

    // Comma-separated elements: `content` of chat answers, or the four lists of completions.
    std::string content_;
    std::string tokens_, values_, top_, offsets_;
    std::size_t count_ = 0;
    std::size_t text_offset_ = 0;  ///< characters before the next token
};

/// One choice of a whole (unstreamed) answer.
struct ChoiceAnswer {
    std::string text;
    LogprobsText logprobs;
    std::optional<FinishReason> finish;
};

std::string answer_body(const AnswerFormat& format, std::span<ChoiceAnswer> choices,
                        const Usage& usage);

// Events, each "data: {…}\n\n".
std::string role_event(const AnswerFormat& format, std::uint32_t choice);
std::string text_event(const AnswerFormat& format, std::uint32_t choice, std::string_view text,
                       LogprobsText& logprobs);
std::string finish_event(const AnswerFormat& format, std::uint32_t choice, FinishReason reason);
std::string usage_event(const AnswerFormat& format, const Usage& usage);
std::string error_event(const ApiError& error);
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";
/// A comment, which clients skip: tells proxies and people that a silent stream is alive.
inline constexpr std::string_view kKeepAliveEvent = ": keep-alive\n\n";

/// `model` may be null: nothing is served yet.
std::string models_body(const ServedModel* model);
std::string model_body(const ServedModel& model);
std::string health_body(const Health& health);

/// A token's bytes as JSON can carry them: whatever is not UTF-8 becomes U+FFFD.
std::string replace_invalid_utf8(std::string_view bytes);

}  // namespace potluck::coordinator::api
