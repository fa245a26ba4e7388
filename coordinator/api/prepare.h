#pragma once

// From a request body to what the backend is asked: parse, render the chat template, tokenise.
// Takes milliseconds for long prompts, so it runs on the service pool; pure, safe on any thread.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/api/api_error.h"
#include "coordinator/api/backend.h"
#include "coordinator/api/request.h"

namespace potluck::coordinator::api {

enum class Endpoint : std::uint8_t { kChat, kCompletions };

struct PreparedRequest {
    std::vector<GenerationRequest> parts;  ///< one per prompt, all with the same n
    bool seeded = false;  ///< the client chose the seed; otherwise the server draws
    bool stream = false;
    bool include_usage = false;
};

/// `now` is for templates that write the date.
Parsed<PreparedRequest> prepare(Endpoint endpoint, std::string_view body, const ServedModel& model,
                                std::chrono::sys_seconds now);

/// Holds all prompts and choices together to `most` tokens: answers get even shares of what the
/// prompts leave and end there with "length"; prompts that leave nothing are refused.
Parsed<void> limit_tokens(std::vector<GenerationRequest>& parts, std::uint32_t most);
std::uint64_t prompt_tokens(const std::vector<GenerationRequest>& parts);

/// 404 as OpenAI words it.
ApiError model_not_found(std::string_view id);

}  // namespace potluck::coordinator::api
