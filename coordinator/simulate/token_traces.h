#pragma once

// What a model is asked and says, as tokens, for runs without a model. Drawn from a source in which
// some tokens usually follow others, as in code: after each of them one of a few, the first of
// these most often, or now and then any.

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace potluck::simulate {

enum class TraceKind : std::uint8_t {
    kFresh,  ///< the answer goes on as the prompt began
    kEdit,   ///< the answer repeats the prompt's text with a name replaced and a few other changes
    kAgain,  ///< as kFresh, and the same was asked and answered before
};

struct TraceOptions {
    TraceKind kind = TraceKind::kFresh;
    std::size_t count = 8;  ///< requests
    std::size_t prompt = 400;
    std::size_t answer = 300;
    double usual = 0.6;      ///< how often the next token is one of the few that usually follow
    std::size_t every = 25;  ///< edit: tokens between two places of the name
    double changes = 0.02;   ///< edit: share of other tokens that are changed
    std::uint64_t seed = 1;
};

struct TokenTrace {
    std::vector<TokenId> prompt, answer;
};

std::vector<TokenTrace> make_traces(const TraceOptions& options);

}  // namespace potluck::simulate
