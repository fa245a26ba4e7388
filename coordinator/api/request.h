#pragma once

// Request bodies, validated: JSON text in, a struct or the error that the client gets out. Pure:
// neither the model nor the clock is needed. docs/api.md lists every field.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "base/batch.h"
#include "coordinator/api/api_error.h"

namespace potluck::coordinator::api {

inline constexpr std::uint32_t kMaxChoicesPerPrompt = 16;  ///< `n`
inline constexpr std::size_t kMaxChoices = 128;            ///< prompts × n of one request
inline constexpr std::size_t kMaxStops = 16;               ///< `stop`
inline constexpr std::size_t kMaxStopBytes = 1024;         ///< of each stop string
inline constexpr std::size_t kMaxLogitBiases = 1024;       ///< `logit_bias`
inline constexpr std::uint16_t kMaxTopLogprobs =
    20;  ///< `top_logprobs`, and `logprobs` of completions
inline constexpr std::uint32_t kDefaultCompletionTokens =
    16;                                                  ///< OpenAI's default of /v1/completions
inline constexpr std::size_t kMaxSpeculationBytes = 64;  ///< `speculation`
inline constexpr std::size_t kMaxJsonDepth = 32;

/// What the request says of sampling; the rest comes from the model's defaults.
struct SamplingFields {
    std::optional<float> temperature;
    std::optional<float> top_p;
    std::optional<float> min_p;
    std::optional<std::int32_t> top_k;
    std::optional<float> repetition_penalty;
    std::optional<float> presence_penalty;
    std::optional<float> frequency_penalty;
    std::optional<std::int32_t> penalty_window;
    std::optional<std::int64_t> seed;
    std::vector<std::pair<TokenId, float>>
        logit_bias;  ///< ids ≥ 0, not yet held against a vocabulary
};

/// `defaults` overlaid with what the request says; the seed stays as it is if none was given.
SamplerSpec sampler_from(const SamplingFields& fields, SamplerSpec defaults);

/// What both endpoints share.
struct GenerationFields {
    std::string model;  ///< empty: the one that is served
    SamplingFields sampling;
    std::uint32_t n = 1;
    std::optional<std::uint32_t> max_tokens;
    std::vector<std::string> stop;
    bool stream = false;
    bool include_usage = false;
    bool ignore_eos = false;
    std::string speculation;  ///< not yet known to be one; empty: as the cluster has it
    bool logprobs = false;
    std::uint16_t top_logprobs = 0;
};

struct ChatRequest {
    GenerationFields generation;
    boost::json::array messages;  ///< as templates want them: roles mapped, content one string
    boost::json::object template_args;  ///< `chat_template_kwargs`
};

using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
    GenerationFields generation;
    std::vector<Prompt> prompts;  ///< at least one
};

/// The body of any POST: a JSON object of bounded depth.
Parsed<boost::json::object> parse_object(std::string_view body);
Parsed<ChatRequest> parse_chat_request(std::string_view body);
Parsed<CompletionRequest> parse_completion_request(std::string_view body);

}  // namespace potluck::coordinator::api
