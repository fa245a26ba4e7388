#pragma once

// The way between the drafter `draft_model`, which lives on the loop's thread and never waits, and
// whoever runs its model somewhere else (coordinator/draft_model).
//
// The other side is told the certain tokens and drafts behind them, token by token, as long as no
// more than `most` are drafted; what it drafts without a break is a *chain*. When a certain token
// turns out to be another one than it drafted, the chain is broken: it begins a new one, with a
// new generation, and whatever comes late of the old one is known by that and dropped.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"

namespace potluck::coordinator {

using std::chrono::nanoseconds;

struct DraftRequest {
    std::uint64_t number = 0;     ///< of the sequence, never used twice
    bool ends = false;            ///< the sequence is over: nothing else counts
    std::vector<TokenId> tokens;  ///< certain, behind those of its earlier requests
    std::size_t most = 0;         ///< to be drafted behind the certain ones
};

/// One drafted token. Those of one sequence come in order.
struct DraftReply {
    std::uint64_t number = 0;
    std::uint32_t generation = 0;  ///< of the chain
    std::size_t position = 0;      ///< in the sequence, from 0
    TokenId token = 0;
    /// What the model computed for the sequence since its last reply, and how long that took.
    std::uint32_t rows = 0;
    nanoseconds took{};
};

/// Both calls return at once; the loop's thread calls.
class DraftPort {
  public:
    virtual ~DraftPort() = default;
    /// False if there is no room: `request` is untouched, and may be posted later.
    [[nodiscard]] virtual bool post(DraftRequest&& request) = 0;
    virtual std::optional<DraftReply> poll() = 0;
};

}  // namespace potluck::coordinator
