#pragma once

// What the scheduler asks of whoever drafts tokens ahead (coordinator/speculate): which tokens may
// follow, and how many of them are worth a try right now. The scheduler verifies: it feeds drafted
// tokens as speculative rows that are sampled like any other, keeps those that the model chose by
// itself, and takes the others back. So a bad draft costs time, never a token.
//
// One row per drafted token in either of two shapes:
// - together: the drafted rows follow the certain row in one batch; one round verifies all of them;
// - ahead: jobs of one row, or of a few, follow one another through the pipeline before the first
//   one is back, so that every stage works on the same stream at once.
//
// Sequences are named by the scheduler's number, which lasts from admission to the end, over pauses
// and replays. Calls of one number come in the order begin, then any of observe, propose, verdict,
// then end. Nothing here blocks, reads a clock or throws; the loop's thread calls.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/core/cost_curve.h"

namespace potluck::coordinator {

enum class DraftShape : std::uint8_t { kTogether, kAhead };

/// What a try would cost at this moment, from measured steps (pacing.h).
struct SpeculationCosts {
    nanoseconds plain{};    ///< one token alone: from the row's departure to the token's arrival
    nanoseconds slowest{};  ///< of these, in the slowest stage or link
    /// together[k]: a round with k drafted rows behind the certain one, and all that goes along;
    /// together[0] is a round without. Its length bounds k: what one batch may take.
    std::span<const nanoseconds> together;
    /// slowest_of[k]: the slowest stage's or link's part of together[k]; as many, or none: then
    /// jobs ahead have one row.
    std::span<const nanoseconds> slowest_of;
    /// How many one-token jobs of one stream fit in the pipeline at once: (sum of stages and
    /// links) / slowest. 1 where there is one stage, or where other users' certain rows fill it.
    double window = 1;
    std::size_t users = 1;  ///< sequences that decode, this one too
};

/// What to send behind the certain tokens and what is under way already.
struct Draft {
    DraftShape shape = DraftShape::kTogether;
    std::vector<TokenId> tokens;  ///< to be appended; empty: nothing is worth it
    std::size_t job = 1;          ///< of kAhead: rows of each job; of the first, a certain one
    double jobs = 1;              ///< of kAhead: so many of them fill the pipeline
};

/// One round that is over. A round begins when a certain row leaves and ends with its token.
struct RoundVerdict {
    std::uint32_t drafted = 0;   ///< rows that were verified with it; of kAhead: by this job
    std::uint32_t accepted = 0;  ///< of them, from the first on
    DraftShape shape = DraftShape::kTogether;
    std::uint32_t tokens = 1;  ///< that became certain; of kTogether always 1 + accepted
    nanoseconds took{};        ///< wall time per round, of kAhead since the last token came
    nanoseconds plain{};       ///< what one token without drafts takes now, by the costs
};

/// For the answer's usage, the metrics and people.
struct SpeculationReport {
    std::uint64_t rounds = 0;                ///< with at least one drafted row
    std::uint64_t drafted = 0;               ///< rows
    std::uint64_t accepted = 0;              ///< of them
    std::vector<std::uint64_t> drafted_at;   ///< by depth, from 1; a bounded length
    std::vector<std::uint64_t> accepted_at;  ///< by depth
    nanoseconds debt{};      ///< time lost against no drafts, by measurement; negative: won
    nanoseconds draft{};     ///< computing of drafters and their choice, on whatever thread
    nanoseconds verify{};    ///< wall time of the rounds
    nanoseconds rollback{};  ///< of it, what rows took that were taken back
    std::string arm;         ///< drafter and length in use at the end, "off" if none
    std::string why;         ///< of it, for people
    std::string drafter;     ///< the arm's drafter alone, "off" if none
    std::string reason;      ///< of it, one of a few words
};

class Speculation {
  public:
    virtual ~Speculation() = default;

    /// A sequence begins with these tokens. `choice`: "auto", "off" or the name of a drafter; it
    /// was checked by knows().
    virtual void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
                       const std::string& choice) = 0;
    /// Tokens that are certain now and follow all that came before.
    virtual void observe(std::uint64_t number, std::span<const TokenId> tokens) = 0;
    /// How many rows propose would think about now, at most `most`: what more would cost need not
    /// be found out. 0: it has nothing to say and need not be asked. Cheap.
    virtual std::size_t considers(std::uint64_t number, std::size_t most) = 0;
    /// Drafts behind the certain tokens and `under_way` (drafted before, not verified yet).
    /// `most`: rows for which there is room, of which a batch takes what `costs` know of.
    virtual Draft propose(std::uint64_t number, std::span<const TokenId> under_way,
                          std::size_t most, const SpeculationCosts& costs) = 0;
    /// What a drafter on the last stage proposes behind the newest certain token (StepResult).
    virtual void proposed_by_stage(std::uint64_t number, std::span<const TokenId> tokens) = 0;
    virtual void verdict(std::uint64_t number, const RoundVerdict& round) = 0;
    virtual SpeculationReport end(std::uint64_t number) = 0;

    /// Whether a request may ask for it.
    virtual bool knows(const std::string& choice) const = 0;
};

}  // namespace potluck::coordinator
