#pragma once

// The unit of work of a pipeline: operations on sequences, then rows. Every stage applies the
// operations in order before it computes the rows, so that all stages' page tables agree without a
// round trip. These are values; proto/ puts them on the wire, engine/ executes them.
//
// Operations on sequences that a stage must obey from the first version on, even where they do
// nothing yet: open, fork, truncate, commit, checkpoint, restore, release. Trees are forks.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace potluck {

/// How the next token is chosen: a function of the sequence's tokens, this, and (seed, position).
/// Defaults are greedy. Order of effects: logit bias, penalties, then (if temperature > 0) top_k,
/// top_p, min_p, temperature.
struct SamplerSpec {
    std::uint64_t seed = 0;
    float temperature = 0;         ///< 0: the best token, lowest id on a tie
    std::int32_t top_k = 0;        ///< 0: off
    float top_p = 1;               ///< 1: off
    float min_p = 0;               ///< 0: off
    float repetition_penalty = 1;  ///< 1: off; divides positive and multiplies negative logits
    float presence_penalty = 0;
    float frequency_penalty = 0;
    std::int32_t penalty_window = 0;  ///< last tokens that penalties look at; 0: the whole sequence
    std::vector<std::pair<TokenId, float>> logit_bias;  ///< -infinity forbids a token

    friend bool operator==(const SamplerSpec&, const SamplerSpec&) = default;
};

enum class OperationKind : std::uint8_t {
    kOpen = 1,  ///< seq begins empty (or with `tokens` already in place of a replay), with
                ///< `sampler` and `tenant`
    kFork =
        2,  ///< seq, open and empty, takes the first `length` positions of `source`, sharing pages
    kTruncate = 3,    ///< seq keeps its first `length` positions
    kCommit = 4,      ///< seq will never be truncated below `length`
    kCheckpoint = 5,  ///< remember seq's state as `checkpoint`
    kRestore = 6,     ///< seq goes back to `checkpoint`
    kRelease = 7,     ///< seq ends; its pages are free unless shared
};

struct Operation {
    OperationKind kind = OperationKind::kOpen;
    SeqId seq;
    SeqId source;                  ///< kFork
    std::uint32_t length = 0;      ///< kFork, kTruncate, kCommit: a number of positions
    std::uint64_t checkpoint = 0;  ///< kCheckpoint, kRestore
    TenantId tenant;               ///< kOpen
    SamplerSpec sampler;           ///< kOpen
    std::vector<TokenId>
        tokens;  ///< kOpen, kRestore: token ids that penalties see before position 0's row comes

    friend bool operator==(const Operation&, const Operation&) = default;
};

/// Flags of a row, or-ed.
enum RowFlag : std::uint16_t {
    kRowSample = 1,       ///< the last stage samples the token after this one
    kRowTap = 2,          ///< hidden states leave as a tap frame
    kRowSpeculative = 4,  ///< drafted; may be cancelled
    /// Cancelled when its stage began with it: it gets its place, but need not be computed. Only
    /// within a worker, never on the wire.
    kRowJunk = 0x8000,
};

/// One token of one sequence.
struct Row {
    SeqId seq;
    std::uint32_t position = 0;  ///< from 0; must be the stage's own length of the sequence
    TokenId token = 0;
    std::uint32_t generation = 0;  ///< rows below a CANCEL's generation are junk
    std::uint16_t flags = 0;
    std::uint16_t logprobs =
        0;  ///< how many best alternatives the result lists; 0xFFFF: none, not even the token's own

    friend bool operator==(const Row&, const Row&) = default;
};
inline constexpr std::uint16_t kNoLogprobs = 0xFFFF;

struct Batch {
    BatchId id;
    std::vector<Operation> operations;
    std::vector<Row> rows;

    friend bool operator==(const Batch&, const Batch&) = default;
};

struct TokenLogprob {
    TokenId token = 0;
    float logprob = 0;

    friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

/// What the last stage says of one sampled row. `top` and `proposed` follow one another in
/// StepResult::entries: first n_top of this row, then n_proposed.
struct ResultRow {
    SeqId seq;
    std::uint32_t position =
        0;  ///< of the row that was sampled; the new token belongs at position + 1
    std::uint32_t generation = 0;
    TokenId token = 0;
    float logprob = 0;             ///< natural log of the model's probability; 0 if not asked for
    std::uint16_t n_top = 0;       ///< most probable tokens
    std::uint16_t n_proposed = 0;  ///< drafts by a drafter that lives on the last stage

    friend bool operator==(const ResultRow&, const ResultRow&) = default;
};

struct StepResult {
    BatchId batch;
    std::vector<ResultRow> rows;
    std::vector<TokenLogprob> entries;

    friend bool operator==(const StepResult&, const StepResult&) = default;
};

}  // namespace potluck
