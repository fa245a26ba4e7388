#pragma once

// The way between the drafter `draft_model`, which lives on the loop's thread and never waits, and
// whoever runs its model somewhere else (coordinator/draft_model): on a thread of this machine, or
// on a node that has nothing else to do.
//
// The other side is told the certain tokens and drafts behind them, token by token, as long as no
// more than `most` are drafted; what it drafts without a break is a *chain*. When a certain token
// turns out to be another one than it drafted, the chain is broken: it begins a new one, with a
// new generation, and whatever comes late of the old one is known by that and dropped.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/ids.h"

namespace potluck::coordinator {

using std::chrono::nanoseconds;

/// Of a fixed size: the two sides share no memory that either could wait for.
struct DraftRequest {
    static constexpr std::size_t kMostTokens = 64;

    std::uint64_t number = 0;  ///< of the sequence, never used twice
    bool ends = false;         ///< the sequence is over: nothing else counts
    std::uint32_t count = 0;   ///< of `tokens`
    /// Certain, behind those of its earlier requests.
    std::array<TokenId, kMostTokens> tokens{};
    std::size_t most = 0;  ///< to be drafted behind the certain ones; 0: more of them follow

    /// The first tokens of `text`, as many as there is room for.
    static DraftRequest of(std::uint64_t number, std::span<const TokenId> text, std::size_t most) {
        DraftRequest request{.number = number};
        request.count = static_cast<std::uint32_t>(std::min(text.size(), kMostTokens));
        std::copy_n(text.begin(), request.count, request.tokens.begin());
        if (request.count == text.size()) request.most = most;
        return request;
    }
    std::span<const TokenId> certain() const { return std::span(tokens).first(count); }
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
    /// False if there is no room: `request` may be posted later.
    [[nodiscard]] virtual bool post(const DraftRequest& request) = 0;
    virtual std::optional<DraftReply> poll() = 0;
    /// Whether its computing may hold a stream up: it has a processor in common with stages or with
    /// the loop.
    virtual bool shares_processors() const { return true; }
    /// Why nothing is drafted now, for people; empty: it is.
    virtual std::string absence() const { return {}; }
};

}  // namespace potluck::coordinator
