#pragma once

// Which rows go into the next batch, and how many batches are in flight. A pure state machine: no
// clock, thread, socket or random source; every method appends the actions that the shell must
// take.
//
// Requests wait in a bounded queue until the KV pages they may need are free (never
// over-committed); then their sequences are prefilled in chunks and decoded, round robin. At most
// max_in_flight batches are under way, and decoding sequences are spread over them so that every
// stage has work.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "base/batch.h"
#include "base/result.h"
#include "coordinator/core/answer_text.h"
#include "coordinator/core/generation.h"
#include "engine/page_table.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::coordinator {

struct SchedulerOptions {
    std::size_t queue_limit = 256;    ///< requests that wait; more are refused
    std::size_t prefill_chunk = 256;  ///< rows of prompts per batch
};

/// What a pipeline can hold, from the plan and from what its stages answered.
struct PipelineLimits {
    std::size_t stages = 1;
    std::size_t max_in_flight = 2;
    std::size_t max_batch_rows = 512;
    std::size_t kv_pages = 0;  ///< of the smallest stage
    std::size_t page_tokens = 64;
    std::size_t context = 0;  ///< positions per sequence
    std::size_t slots = 8;    ///< sequences at once
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

class Scheduler {
  public:
    Scheduler(SchedulerOptions options, std::shared_ptr<const model::Tokenizer> tokenizer);
    ~Scheduler();

    /// A pipeline is there: work may begin.
    void start(const PipelineLimits& limits, SchedulerActions& actions);
    /// It is gone: every request, waiting or running, ends with `reason`.
    void stop(const Error& reason, SchedulerActions& actions);
    bool running() const { return pages_.has_value(); }

    /// kPeerLost without a pipeline, kInvalidArgument for what can never fit, kResourceExhausted if
    /// the queue is full. `id` is new.
    Status submit(RequestId id, GenerationRequest request, SchedulerActions& actions);
    /// Forgets a request; unknown ids are ignored. Nothing more is emitted for it.
    void cancel(RequestId id, SchedulerActions& actions);
    /// The last stage's answer to a batch. kCorrupt if it does not fit what was sent.
    Status on_result(const StepResult& result, SchedulerActions& actions);

    std::size_t in_flight() const { return in_flight_.size(); }
    std::size_t waiting() const { return queue_.size(); }
    std::size_t active_sequences() const { return sequences_.size(); }
    const engine::PageTable* pages() const { return pages_ ? &*pages_ : nullptr; }

  private:
    struct Sequence;
    struct Request;

    void pump(SchedulerActions& actions);
    void admit();
    std::size_t pages_for(const GenerationRequest& request) const;
    std::size_t active_choices() const;
    void begin(RequestId id, GenerationRequest request, std::size_t reserved);
    bool fill(Batch& batch);
    void add_decode_rows(Batch& batch);
    void add_prefill_rows(Batch& batch);
    void add_row(Batch& batch, Sequence& sequence);
    void fork_choices(const Sequence& leader);
    void operate(Operation operation);
    Status take_results(const StepResult& result, const std::vector<SeqId>& asked,
                        SchedulerActions& actions);
    void take_token(Sequence& sequence, const StepResult& result, const ResultRow& row,
                    std::size_t entry, SchedulerActions& actions);
    void end_choice(Sequence& sequence, FinishReason reason, Delta delta,
                    SchedulerActions& actions);
    void release(SeqId id);

    SchedulerOptions options_;
    std::shared_ptr<const model::Tokenizer> tokenizer_;
    PipelineLimits limits_;
    std::optional<engine::PageTable> pages_;
    std::deque<std::pair<RequestId, GenerationRequest>> queue_;
    std::map<RequestId, Request> requests_;
    std::map<SeqId, Sequence> sequences_;
    std::deque<SeqId> rotation_;                       ///< whose turn is next
    std::vector<Operation> operations_;                ///< for the next batch
    std::map<BatchId, std::vector<SeqId>> in_flight_;  ///< and whose rows are sampled, in order
    std::size_t reserved_pages_ = 0;
    std::uint64_t next_batch_ = 1;
    std::uint64_t next_sequence_ = 1;
};

}  // namespace potluck::coordinator
