#pragma once

// Which rows go into the next batch, and how many batches are in flight. A pure state machine: no
// clock, thread, socket or random source; every method appends the actions that the shell must
// take. docs/scheduler.md has the formulas and the reasons.
//
// A request waits in a queue (request_queue.h), is admitted when a slot and the pages of its prompt
// are free, is prefilled in chunks and decoded until it ends. Sequences join and leave at any step.
//
// - Batches (pacing.h): while only decoding goes on, users are spread over as many batches as make
//   the measured cycle shortest, and a sequence that comes back early waits for its batch rather
//   than opening one more. While prompts are fed, batches fill the pipeline; if somebody decodes, a
//   chunk is as long as a round of `step_budget` allows, else as long as is soonest through.
// - Pages (kv_pool.h): a request takes pages as it grows, not what it may come to need. When none
//   is left, what is kept for later prompts goes first; then the lowest sequence (batch before
//   interactive, youngest first) is paused: its pages go, its tokens stay, and it is replayed from
//   them when there is room. Replayed tokens are fed, never sampled again. Whoever is highest can
//   always go on, because a request that would not fit alone is refused.
// - Prefixes (prefix_cache.h): a sequence whose request is over is kept on the stages; a prompt of
//   the same tenant that begins like it, or like one that still runs, forks from it. A prompt whose
//   beginning is being fed for another one right now waits for that. Choices of one request are the
//   same case.
// - Loss (scheduler_loss.cpp): when the pipeline is lost, every sequence is paused and waits for
// the
//   next pipeline; new requests are taken meanwhile, for a bounded time.
// - Drafts (speculation.h): rows that somebody else thinks will come next are sent where there is
//   room and nothing certain to do, sampled like any other, and kept as far as they were right.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/batch.h"
#include "base/result.h"
#include "coordinator/core/answer_text.h"
#include "coordinator/core/generation.h"
#include "coordinator/core/kv_pool.h"
#include "coordinator/core/pacing.h"
#include "coordinator/core/plan.h"
#include "coordinator/core/recomputed.h"
#include "coordinator/core/request_queue.h"
#include "coordinator/core/speculation.h"
#include "coordinator/core/speculation_totals.h"
#include "engine/page_table.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::coordinator {

struct SchedulerOptions {
    std::size_t queue_limit = 256;  ///< requests that wait; more are refused
    std::size_t prefill_chunk = 0;  ///< most rows of prompts per batch; 0: as step times say
    /// How long a round of the pipeline may take while somebody decodes: the gap between two tokens
    /// of a client while another's prompt is fed. A step of decoding alone may take longer.
    nanoseconds step_budget = std::chrono::milliseconds(160);
    std::size_t kept_sequences = 64;  ///< of requests that are over, for later prompts; 0: none
    /// Tokens of an answer for which pages are wanted before a request is let in: more lets fewer
    /// in, less pauses them sooner.
    std::size_t growth_tokens = 64;
    std::size_t least_shared = 8;  ///< tokens below which a shared beginning is not looked for
    /// How long requests, also new ones, wait for a pipeline after one was lost.
    nanoseconds patience = std::chrono::seconds(60);
    std::string speculation = "off";  ///< of requests that do not say: "off", "auto" or a drafter
};

/// What a pipeline can hold, from the plan and from what its stages answered.
struct PipelineLimits {
    std::size_t stages = 1;
    std::size_t max_in_flight = 2;
    std::size_t max_batch_rows = 512;
    std::size_t kv_pages = 0;  ///< of the smallest stage
    std::size_t page_tokens = 64;
    std::size_t context = 0;            ///< positions per sequence
    std::size_t slots = 8;              ///< sequences at once
    std::vector<StageCost> costs;       ///< by stage; empty: a guess, until samples come
    KeptPages kept = KeptPages::kNone;  ///< of Scheduler::kept(), as it was when they were prepared
};

struct SendBatch {
    Batch batch;
};
struct SendCancel {
    SeqId seq;
    std::uint32_t generation = 0;
};
struct EmitDelta {
    RequestId request;
    Delta delta;
};
struct EmitFinish {
    RequestId request;
    std::uint32_t choice = 0;
    FinishReason reason = FinishReason::kStop;
};
struct EmitDone {
    RequestId request;
    Usage usage;
};
struct EmitError {
    RequestId request;
    Error error;
};
using SchedulerAction =
    std::variant<SendBatch, SendCancel, EmitDelta, EmitFinish, EmitDone, EmitError>;
using SchedulerActions = std::vector<SchedulerAction>;

/// Since the scheduler was made.
struct SchedulerCounters {
    std::uint64_t batches = 0;
    std::uint64_t rows_prefilled = 0;   ///< of prompts, first time
    std::uint64_t rows_decoded = 0;     ///< one token of an answer each
    std::uint64_t rows_replayed = 0;    ///< fed again after a pause
    std::uint64_t rows_from_cache = 0;  ///< that a shared beginning saved
    std::uint64_t prefix_hits = 0;      ///< sequences that began with a shared beginning
    std::uint64_t pauses = 0;
    std::uint64_t replays = 0;          ///< paused sequences that went on
    std::uint64_t evictions = 0;        ///< of kept sequences, in whole or in part
    std::uint64_t losses = 0;           ///< of pipelines
    std::uint64_t rows_recomputed = 0;  ///< of rows_replayed, those that a lost pipeline had
    std::uint64_t rows_refilled = 0;    ///< of rows_recomputed, those that later stages held
    std::uint64_t rows_kept = 0;        ///< that a lost pipeline had and were not fed again
    std::uint64_t rows_drafted = 0;
    std::uint64_t rows_accepted = 0;  ///< of those: a token of an answer each
};

/// What a stage reported of its batches. Where there are too many, workers leave the oldest out.
struct StageWork {
    std::uint64_t steps = 0;
    nanoseconds compute{};
};

class Scheduler {
  public:
    /// Without `speculation` nothing is drafted, and requests may only ask for "off".
    Scheduler(SchedulerOptions options, std::shared_ptr<const model::Tokenizer> tokenizer,
              std::unique_ptr<Speculation> speculation = nullptr);
    ~Scheduler();

    /// The time of all that is said next, which never falls. What drafts are worth and how long a
    /// pipeline is missing are judged by it: without it nothing seems to take any.
    void set_time(nanoseconds now) { now_ = now; }

    /// A pipeline is there: work begins, or goes on after suspend(). What waited for it and can
    /// never fit its limits ends with kPeerLost.
    void start(const PipelineLimits& limits, SchedulerActions& actions);
    /// The pipeline is gone, with all that was in flight and all pages. Nobody is told: sequences
    /// are paused, and requests, new ones too, wait for start() or give_up_if_late(). Does nothing
    /// without a pipeline. `planned`: nothing was lost, another pipeline follows.
    void suspend(bool planned = false);
    /// While suspended for longer than the patience: ends every request with kPeerLost and
    /// `status`, and takes no more.
    void give_up_if_late(const std::string& status, SchedulerActions& actions);
    /// Every request, waiting or running, ends with `reason`, and no more are taken.
    void stop(const Error& reason, SchedulerActions& actions);
    /// While suspended: the sequences of the lost pipeline of which every stage has computed the
    /// first positions, to be kept by stages of the next one.
    std::vector<engine::KeptSequence> kept() const;
    bool running() const { return pool_ != nullptr; }
    bool suspended() const { return suspended_since_.has_value(); }

    /// kPeerLost without a pipeline unless suspended (then the limits of the lost pipeline count),
    /// kInvalidArgument for what can never fit and for an unknown `speculation`,
    /// kResourceExhausted if the queue is full (expected_wait() says when to come again). `id` is
    /// new.
    Status submit(RequestId id, GenerationRequest request, SchedulerActions& actions);
    /// Forgets a request, wherever it is; unknown ids are ignored. Nothing more is emitted for it.
    void cancel(RequestId id, SchedulerActions& actions);
    /// The last stage's answer to a batch. kCorrupt if it does not fit what was sent: then nothing
    /// goes on, suspend() or stop() is next.
    Status on_result(const StepResult& result, SchedulerActions& actions);
    /// How long a stage took for a batch. Changes later batches, sends none.
    void observe(StageIndex stage, const StepSample& sample);

    /// How long a request that came now would wait for its first token, its own prompt aside: the
    /// prompts before it at the measured rate, and slots at the rate at which answers end. 0
    /// without a pipeline.
    nanoseconds expected_wait() const;

    std::size_t in_flight() const { return in_flight_.size(); }
    std::size_t waiting() const { return queue_.size(); }
    /// Admitted and not over, paused ones too.
    std::size_t active_sequences() const { return sequences_.size(); }
    std::size_t paused_sequences() const;
    std::size_t kept_sequences() const { return pool_ ? pool_->kept_sequences() : 0; }
    /// Pages that only kept sequences hold.
    std::size_t kept_pages() const { return pool_ ? pool_->kept_pages() : 0; }
    SchedulerCounters counters() const;
    /// Of the present pipeline, or of the last one.
    Recomputed recomputed() const;
    const SpeculationTotals& speculation_totals() const { return speculation_totals_; }
    /// By stage, over all pipelines.
    const std::vector<StageWork>& stage_work() const { return stage_work_; }
    const engine::PageTable* pages() const { return pool_ ? &pool_->table() : nullptr; }
    const Pacing* pacing() const { return pacing_ ? &*pacing_ : nullptr; }

  private:
    struct Sequence;
    struct Request;
    struct Asked;
    struct InFlight;
    struct Survey;
    struct Kept;

    // scheduler.cpp: events.
    void pump(SchedulerActions& actions);
    std::size_t pages_alone(std::size_t prompt, const GenerationRequest& asked) const;
    std::uint64_t prompt_work_admitted() const;

    // scheduler_loss.cpp: without a pipeline.
    void forget_pipeline();
    void note_kept(Sequence& sequence);
    void take_up_kept();
    Status check_fits(std::size_t prompt, const GenerationRequest& asked) const;
    void end_what_does_not_fit(SchedulerActions& actions);

    // scheduler_admission.cpp: slots, pages, pausing.
    void admit();
    bool admit_next(std::size_t& promised);
    bool resume_paused(std::size_t& promised, bool& all);
    std::size_t growth(const Sequence& sequence) const;
    std::size_t promised_pages() const;
    bool fits(std::size_t pages, std::size_t promised);
    void begin(RequestQueue::Waiting waiting);
    void pause(Sequence& sequence);
    Sequence* lowest_with_pages();
    bool lower(const Sequence& a, const Sequence& b) const;
    bool make_room_for(Sequence& sequence, std::size_t rows, std::size_t& reserved);

    // scheduler_batches.cpp: composition.
    bool compose(SchedulerActions& actions);
    bool must_not_wait(const Survey& survey) const;
    Survey survey();
    std::size_t batches_wanted(const Survey& survey);
    void plan_decoding(Survey& survey);
    void plan_prompts(Survey& survey);
    std::size_t plan_prompt(Sequence& sequence, std::size_t most, Survey& survey);
    std::optional<PrefixCache::Match> source_of(const Sequence& sequence, const Survey& survey);
    bool open(Sequence& sequence, Survey& survey);
    SamplerSpec sampler_of(const Sequence& sequence) const;
    void add_rows(Sequence& sequence, Batch& batch, InFlight& record);
    void send(const Survey& survey, SchedulerActions& actions);

    // scheduler_results.cpp: tokens come, choices and requests end.
    Status take_results(const StepResult& result, const InFlight& sent, SchedulerActions& actions);
    Sequence* waits_for(const Asked& asked);
    void take_token(Sequence& sequence, const StepResult& result, const ResultRow& row,
                    std::size_t entry, nanoseconds sent, SchedulerActions& actions);
    void end_choice(Sequence& sequence, FinishReason reason, Delta delta,
                    SchedulerActions& actions);
    void close(Sequence& sequence, SchedulerActions& actions);
    void drop(Sequence& sequence, SchedulerActions& actions);

    // scheduler_speculation.cpp: drafts.
    bool knows_speculation(const std::string& choice) const;
    void begin_drafts(Sequence& sequence, const std::string& choice);
    void end_drafts(Sequence& sequence);
    std::size_t certain_in_flight() const;
    std::size_t live_in_flight() const;
    SpeculationCosts draft_costs(const Sequence& sequence, const Survey& survey, Load load,
                                 std::size_t most);
    nanoseconds round_time(const Load& load) const;
    void end_round(Sequence& sequence);
    std::size_t draft_room(const Sequence& sequence, const Survey& survey) const;
    std::size_t batch_room(const Load& load, std::size_t fed, std::size_t most) const;
    void plan_draft(Sequence& sequence, std::vector<TokenId> tokens, Survey& survey);
    void plan_together(Survey& survey);
    void plan_ahead(Survey& survey);
    void add_drafts(Sequence& sequence, Batch& batch, InFlight& record);
    bool verify(Sequence& sequence, TokenId token, SchedulerActions& actions);
    void tell_drafter(Sequence& sequence, const StepResult& result, const ResultRow& row,
                      std::size_t entry, bool right, nanoseconds sent);
    void learn_way(const InFlight& sent);
    void take_back(Sequence& sequence);
    void abandon_drafts(Sequence& sequence);
    std::size_t draft_pages() const;
    bool make_room(std::size_t pages);

    SchedulerOptions options_;
    std::shared_ptr<const model::Tokenizer> tokenizer_;
    PipelineLimits limits_;
    std::unique_ptr<KvPool> pool_;
    std::optional<Pacing> pacing_;
    RequestQueue queue_;
    std::map<RequestId, Request> requests_;
    std::map<std::uint64_t, Sequence> sequences_;  ///< by number, which is their age
    std::map<BatchId, InFlight> in_flight_;
    SchedulerCounters counters_;
    SchedulerCounters at_start_;  ///< of the pipeline
    SpeculationTotals speculation_totals_;
    std::vector<StageWork> stage_work_;
    std::uint64_t evictions_before_ = 0;  ///< of earlier pipelines
    std::uint64_t next_batch_ = 1;
    std::uint64_t next_seq_ = 1;     ///< on the wire, never used twice
    std::uint64_t next_number_ = 1;  ///< of sequences here
    std::uint64_t next_turn_ = 1;
    std::optional<nanoseconds> suspended_since_;
    std::vector<Kept> kept_;    ///< of the lost pipeline
    bool broken_ = false;       ///< a result did not fit: nothing is sent until suspend() or stop()
    std::size_t chunk_ = 0;     ///< rows of prompts per batch while nobody decodes
    std::uint64_t served_ = 0;  ///< prompt rows sent since the scheduler was made
    double usual_answer_ = 0;   ///< tokens, faded mean; 0: none is known

    std::unique_ptr<Speculation> speculation_;  ///< null: nothing is drafted
    SchedulerActions told_;                     ///< of the result that is taken in: for clients
    nanoseconds now_{};
    std::optional<nanoseconds> beyond_stages_;  ///< of a batch alone: what no stage computed
    std::vector<nanoseconds> together_;         ///< of SpeculationCosts; capacity is kept
    std::vector<nanoseconds> slowest_of_;
};

}  // namespace potluck::coordinator
