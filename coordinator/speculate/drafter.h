#pragma once

// What guesses tokens. A drafter is one file in drafters/ that defines `const DrafterKind&
// <file>()`; the build lists them (docs/adr/0004).
//
// A drafter holds hints, never truth: it is told the tokens that are certain and asked what may
// follow. What became of a guess it sees by the tokens that come next; certain tokens are never
// taken back, so there is nothing to rewind. It never blocks, throws, reads a clock or draws from a
// source of randomness; the loop's thread calls. Memory is bounded per sequence and per tenant, and
// nothing that one tenant wrote ever drafts for another.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace potluck::coordinator {

using std::chrono::nanoseconds;

class DraftPort;
class StaticTable;

/// Where a guess comes from, for those drafters that have several sources. Each is calibrated by
/// itself.
enum class Origin : std::uint8_t { kSequence, kRecovered, kPool, kStatic };
inline constexpr std::size_t kOrigins = 4;

struct Proposal {
    std::vector<TokenId> tokens;  ///< empty: no idea
    /// How many tokens in a row speak for the first one: the length of the match, or how often the
    /// drafter was right of late. Each token that turns out right adds one.
    std::uint32_t evidence = 0;
    Origin origin = Origin::kSequence;

    void clear() {
        tokens.clear();
        evidence = 0;
        origin = Origin::kSequence;
    }
};

class Drafter {
  public:
    virtual ~Drafter() = default;

    /// `argument`: what stands behind the colon of a choice like "forced:0.7", else empty.
    virtual void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
                       std::string_view argument) = 0;
    /// More of the prompt, when it comes in pieces: between begin and the first observe.
    virtual void more_prompt(std::uint64_t number, std::span<const TokenId> tokens) = 0;
    /// Tokens of the answer that are certain now.
    virtual void observe(std::uint64_t number, std::span<const TokenId> tokens) = 0;
    /// At most `most` tokens that may follow the certain ones and then `behind`. `into` is empty.
    virtual void propose(std::uint64_t number, std::span<const TokenId> behind, std::size_t most,
                         Proposal& into) = 0;
    /// The evidence that a proposal would have now, as far as it is known without making one. While
    /// nothing is worth a try drafters are asked seldom; one whose evidence grows is asked at once.
    virtual std::uint32_t strength(std::uint64_t /*number*/) const { return 0; }
    /// What the last stage proposes behind the newest certain token.
    virtual void proposed_by_stage(std::uint64_t /*number*/, std::span<const TokenId> /*tokens*/) {}
    virtual void end(std::uint64_t number) = 0;

    // Of drafters that compute on another thread or machine:
    /// What one more guessed token may hold a stream up, as measured; 0: it is guessed on the loop,
    /// or where it is in nobody's way.
    virtual nanoseconds cost_per_token() const { return {}; }
    /// All that it computed elsewhere for this sequence.
    virtual nanoseconds spent(std::uint64_t /*number*/) const { return {}; }
    /// What of that may have held the stream up and was not asked for yet.
    virtual nanoseconds take_charge(std::uint64_t /*number*/) { return {}; }
    /// How much of that it may cost from now on, beyond what was asked for; said before it is
    /// asked.
    virtual void allow(std::uint64_t /*number*/, nanoseconds /*more*/) {}
    /// Why it has no idea whatever the text; empty: nothing but the text.
    virtual std::string absence() const { return {}; }
};

struct NgramModOptions {
    std::size_t n = 24;          ///< tokens that are looked up
    std::size_t draft_min = 12;  ///< fewer are no draft
    std::size_t draft_max = 48;
};

/// See drafters/forced.cpp.
struct ForcedOptions {
    double acceptance = 1;
    std::uint64_t seed = 1;
};

struct DrafterOptions {
    /// Tenants that have pools at the same time; the one that was idle longest loses its own.
    std::size_t most_tenants = 16;
    NgramModOptions ngram_mod;
    ForcedOptions forced;
    std::shared_ptr<DraftPort> draft_model;           ///< null: there is no such drafter
    std::shared_ptr<const StaticTable> static_table;  ///< of ngram_cache; null: none
};

struct DrafterKind {
    std::string_view name;
    std::string_view what;  ///< one line, for people
    bool automatic = true;  ///< part of "auto"
    /// It may hear of tokens later, many at a time, but before it is asked: its memory is far away.
    bool patient = false;
    /// For tests and benchmarks: exists only if asked for, then sees every sequence, "off" too.
    bool for_tests = false;
    /// What is believed of a guess before anything was seen: the chance of its next token.
    double (*prior)(Origin origin, std::uint32_t evidence) = nullptr;
    /// Whether a choice may say this behind a colon; null: nothing.
    bool (*takes)(std::string_view argument) = nullptr;
    /// Null if it needs something that the options do not have: then this drafter does not exist.
    std::unique_ptr<Drafter> (*make)(const DrafterOptions& options) = nullptr;
};

namespace drafters {
/// Every drafter of this build (generated).
std::span<const DrafterKind* const> drafter_kinds();
}  // namespace drafters

}  // namespace potluck::coordinator
