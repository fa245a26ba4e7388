#pragma once

// What is asked of the cluster for one answer and what comes back: the values that the API, the
// scheduler and the service exchange.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/ids.h"
#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

/// Interactive requests go before batch ones wherever both want the same rows, pages or slots.
enum class Priority : std::uint8_t { kInteractive, kBatch };

struct GenerationRequest {
    std::vector<TokenId> prompt;    ///< at least one token
    std::uint32_t n = 1;            ///< choices; choice i samples with seed + i
    std::uint32_t max_tokens = 0;   ///< 0: as many as the context holds
    SamplerSpec sampler;            ///< with the seed that the API fixed
    std::vector<std::string> stop;  ///< the answer ends before the first of these
    bool ignore_eos = false;        ///< end-of-generation tokens are never sampled
    bool logprobs = false;          ///< fill Delta::tokens' log-probabilities
    std::uint16_t top_logprobs = 0;
    TenantId tenant;  ///< whose prefixes it may share; 0 where tenants are not told apart
    Priority priority = Priority::kInteractive;
    std::string speculation;  ///< "off", "auto" or a drafter's name; empty: as the cluster has it
};

enum class FinishReason : std::uint8_t { kStop, kLength };

struct TokenReport {
    TokenId token = 0;
    float logprob = 0;
    std::vector<TokenLogprob> top;  ///< best first
};

/// New text of one choice. Text that might become a stop string, and half characters, are held
/// back; the tokens are those whose text is (at last) part of what was sent so far.
struct Delta {
    std::uint32_t choice = 0;
    std::string text;
    std::vector<TokenReport> tokens;
};

struct Usage {
    std::uint32_t prompt_tokens = 0;
    std::uint32_t completion_tokens = 0;           ///< over all choices
    std::uint32_t cached_tokens = 0;               ///< of the prompt, found in the prefix cache
    std::optional<SpeculationReport> speculation;  ///< over all choices; nothing if it was off
};

}  // namespace potluck::coordinator
