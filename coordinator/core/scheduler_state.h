#pragma once

// The scheduler's records, for its own files only.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "coordinator/core/scheduler.h"

namespace potluck::coordinator {

/// What is drafted behind the certain tokens of a sequence.
struct Drafting {
    bool known = false;              ///< the drafters have been told of the sequence
    bool on = false;                 ///< they are asked
    bool ahead = false;              ///< they want to go on with rows of their own batches
    std::vector<TokenId> under_way;  ///< fed and not verified, in order
    std::vector<TokenId> planned;    ///< for the batch that is being composed
    DraftShape shape = DraftShape::kTogether;  ///< of those under way
    double jobs = 1;                           ///< Draft::jobs of the last proposal
    RoundVerdict round;                        ///< the one under way, as far as it is known
    bool in_round = false;                     ///< a token of it came
    nanoseconds plain{};                       ///< a round without drafts, by the last costs
    nanoseconds token_at{};                    ///< when the last token came
};

/// One choice of a request, from admission to its end.
struct Scheduler::Sequence {
    std::uint64_t number = 0;  ///< age: smaller is older
    SeqId seq;                 ///< on the stages; 0: not open there (not begun, or paused)
    RequestId request;
    TenantId tenant;
    std::uint32_t choice = 0;
    std::vector<TokenId> tokens;   ///< prompt and what was generated
    std::size_t prompt = 0;        ///< tokens
    std::size_t fed = 0;           ///< rows sent to `seq`, drafted ones too, or shared with it
    std::size_t answered = 0;      ///< rows of batches whose results are in, or shared
    std::size_t confirmed = 0;     ///< rows that every stage has computed for certain
    std::size_t forked = 0;        ///< rows that others share, at most
    std::size_t replay_until = 0;  ///< rows below were fed before the last pause
    std::size_t lost_until = 0;    ///< rows below were in a pipeline that was lost
    std::size_t refill_until = 0;  ///< rows below are held by later stages of this pipeline
    bool sampling = false;         ///< the sample after the last token is under way
    bool shared = false;           ///< its prompt can be forked by others
    bool paused = false;
    ServiceRank rank;
    std::uint64_t turn = 0;    ///< since when its next token is known
    std::size_t planned = 0;   ///< rows in the batch that is being composed
    std::size_t reserved = 0;  ///< pages for them
    // Rows of an older generation that were fed at or behind `generation_from` are junk.
    std::uint32_t generation = 0;     ///< of rows that are sent now
    std::uint32_t awaited = 0;        ///< of the row whose sample is under way
    std::size_t generation_from = 0;  ///< rows fed when this generation began
    Drafting draft;
    AnswerText text;

    bool is_open() const { return seq.value != 0; }
    /// Its pages are somebody else's affair from here on: what was fed will be fed again.
    void leave_stages() {
        replay_until = std::max(replay_until, fed);
        seq = SeqId(0);
        fed = answered = confirmed = forked = 0;
        refill_until = planned = reserved = 0;
        shared = false;
        paused = true;
    }
    std::size_t to_feed() const { return sampling ? 0 : tokens.size() - fed; }
    /// Its prompt is through but for at most its last row.
    bool decodes() const { return !paused && is_open() && to_feed() <= 1; }
};

struct Scheduler::Request {
    GenerationRequest asked;  ///< without its prompt
    std::size_t open_choices = 0;
    std::vector<std::uint64_t> sequences;  ///< by choice
    std::uint32_t generated = 0;
    std::uint32_t cached = 0;                      ///< tokens of the prompt
    std::optional<SpeculationReport> speculation;  ///< of choices that have ended
};

/// A sampled row that is under way.
struct Scheduler::Asked {
    SeqId seq;
    std::uint64_t number = 0;
    std::uint32_t position = 0;
    std::uint32_t generation = 0;
};

struct Scheduler::InFlight {
    struct Fed {
        SeqId seq;
        std::uint64_t number = 0;
        std::size_t until = 0;
        std::uint32_t generation = 0;
    };
    BatchId id;
    Load load;
    nanoseconds sent{};
    bool alone = false;        ///< nothing was in flight when it left
    bool certain = false;      ///< it has rows that are not drafted
    std::vector<Asked> asked;  ///< in the order of their rows
    std::vector<Fed> fed;
};

/// A sequence of the pipeline that was lost.
struct Scheduler::Kept {
    SeqId seq;
    std::uint64_t number = 0;
    std::uint32_t positions = 0;
    bool shares = false;  ///< pages with one before it
};

/// What could go into the next batch, and then what does.
struct Scheduler::Survey {
    std::size_t users = 0;           ///< that decode, whether their next token is known or not
    std::uint64_t user_keys = 0;     ///< of one more row of each
    std::vector<Sequence*> ready;    ///< of these, whose next token is known; longest first
    std::vector<Sequence*> prompts;  ///< in the order of service
    std::vector<Sequence*> ahead;    ///< with nothing but drafted rows in this batch
    std::size_t prompt_rows = 0;
    std::size_t batches = 0;   ///< that may be in flight
    std::size_t reserved = 0;  ///< pages for planned rows
    Load load;                 ///< of planned rows

    std::uint64_t keys_per_user() const { return users == 0 ? 0 : user_keys / users; }
};

}  // namespace potluck::coordinator
