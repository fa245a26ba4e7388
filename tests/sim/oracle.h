#pragma once

// What a request must be answered, from the fake model in one piece, one choice after another,
// without forks, chunks or neighbours.

#include <string>
#include <vector>

#include "coordinator/core/generation.h"
#include "tests/sim/scenario.h"

namespace potluck::sim {

struct ExpectedChoice {
    std::vector<coordinator::TokenReport> tokens;
    std::string text;
    coordinator::FinishReason reason = coordinator::FinishReason::kLength;
    bool ended_by_token = false;  ///< an end-of-generation token came, which is counted, not shown
    TokenId last = 0;             ///< that one, or the last of `tokens`
};

/// By choice.
std::vector<ExpectedChoice> expected_answer(const Scenario& scenario,
                                            const coordinator::GenerationRequest& request);

/// The token that the fake model samples more often than the others.
TokenId end_token();

}  // namespace potluck::sim
