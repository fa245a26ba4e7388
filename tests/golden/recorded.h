#pragma once

// What another engine answered (tests/data/golden and, where it is there, ../shared/golden):
// prompts, the tokens that it chose, and the five best log-probabilities at each step, its own and
// those of exact arithmetic.

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "base/batch.h"
#include "base/result.h"

namespace potluck::golden {

struct RecordedStep {
    TokenId id = 0;
    std::array<TokenLogprob, 5> top;  ///< of the recorder, best first
    std::array<float, 5> exact;       ///< of the same ids, with exact activations
    float gap() const { return top[0].logprob - top[1].logprob; }
};
struct RecordedAnswer {
    std::string prompt;
    std::vector<TokenId> prompt_tokens;
    std::string text;
    std::vector<RecordedStep> steps;
};

Result<std::vector<RecordedAnswer>> read_answers(const std::filesystem::path& file);

/// The project's own recorded part; always there.
std::filesystem::path own_data();
/// ../shared, which users do not have; empty if it is absent.
std::filesystem::path shared_data();

}  // namespace potluck::golden
