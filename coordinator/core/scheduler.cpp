#include "coordinator/core/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace potluck::coordinator {

struct Scheduler::Sequence {
    SeqId id;
    RequestId request;
    std::uint32_t choice = 0;
    std::vector<TokenId> tokens;  ///< prompt and what was generated
    std::size_t fed = 0;          ///< rows sent
    bool sampling = false;        ///< a sampled row is under way
    bool leads = false;           ///< other choices fork from it before the last prompt token
    AnswerText text;

    std::size_t to_feed() const { return sampling ? 0 : tokens.size() - fed; }
};

struct Scheduler::Request {
    GenerationRequest asked;  ///< without its prompt once the choices run
    std::size_t prompt_tokens = 0;
    std::size_t reserved_pages = 0;
    std::size_t open_choices = 0;
    std::vector<SeqId> sequences;  ///< by choice
    std::uint32_t generated = 0;
};

Scheduler::Scheduler(SchedulerOptions options, std::shared_ptr<const model::Tokenizer> tokenizer)
    : options_(options), tokenizer_(std::move(tokenizer)) {}
Scheduler::~Scheduler() = default;

void Scheduler::start(const PipelineLimits& limits, SchedulerActions& actions) {
    POTLUCK_CHECK(!running() && limits.max_in_flight > 0 && limits.max_batch_rows > 0);
    limits_ = limits;
    pages_.emplace(limits.kv_pages, limits.page_tokens, limits.context);
    next_batch_ = 1;
    pump(actions);
}

void Scheduler::stop(const Error& reason, SchedulerActions& actions) {
    for (const auto& [id, request] : requests_)
        actions.push_back(EmitError{id, reason});
    for (const auto& [id, request] : queue_)
        actions.push_back(EmitError{id, reason});
    requests_.clear();
    queue_.clear();
    sequences_.clear();
    rotation_.clear();
    operations_.clear();
    in_flight_.clear();
    reserved_pages_ = 0;
    pages_.reset();
}

/// Pages that a request can come to need: whole pages of the prompt are shared by its choices.
std::size_t Scheduler::pages_for(const GenerationRequest& request) const {
    const std::size_t page = limits_.page_tokens;
    const std::size_t longest = request.prompt.size() + request.max_tokens;
    const std::size_t each = (longest + page - 1) / page;
    const std::size_t shared = request.n > 1 ? (request.prompt.size() - 1) / page : 0;
    return shared + request.n * (each - shared);
}

Status Scheduler::submit(RequestId id, GenerationRequest request, SchedulerActions& actions) {
    if (!running()) return error(ErrorCode::kPeerLost, "no pipeline is running");
    POTLUCK_CHECK(!request.prompt.empty() && request.n > 0);
    if (request.prompt.size() >= limits_.context) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("the prompt has {} tokens, but only {} fit with one of an answer",
                                 request.prompt.size(), limits_.context - 1));
    }
    const auto room = static_cast<std::uint32_t>(limits_.context - request.prompt.size());
    request.max_tokens = request.max_tokens == 0 ? room : std::min(request.max_tokens, room);
    if (request.n > limits_.slots) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{} choices are asked for, this cluster has {} slots", request.n,
                                 limits_.slots));
    }
    if (const std::size_t needed = pages_for(request); needed > limits_.kv_pages) {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("the request may need {} KV pages of {} tokens, this cluster has {}",
                        needed, limits_.page_tokens, limits_.kv_pages));
    }
    if (queue_.size() >= options_.queue_limit) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("{} requests are waiting already", queue_.size()));
    }
    queue_.emplace_back(id, std::move(request));
    pump(actions);
    return {};
}

std::size_t Scheduler::active_choices() const {
    std::size_t n = 0;
    for (const auto& [id, request] : requests_)
        n += request.open_choices;
    return n;
}

/// Takes waiting requests in order while their pages and slots are free.
void Scheduler::admit() {
    std::size_t active = active_choices();
    while (!queue_.empty()) {
        auto& [id, request] = queue_.front();
        const std::size_t needed = pages_for(request);
        if (active + request.n > limits_.slots || reserved_pages_ + needed > limits_.kv_pages)
            return;
        active += request.n;
        const RequestId taken = id;
        GenerationRequest asked = std::move(request);
        queue_.pop_front();
        begin(taken, std::move(asked), needed);
    }
}

void Scheduler::begin(RequestId id, GenerationRequest asked, std::size_t reserved) {
    Request request;
    request.prompt_tokens = asked.prompt.size();
    request.reserved_pages = reserved;
    request.open_choices = asked.n;
    reserved_pages_ += reserved;
    if (asked.ignore_eos) {
        for (const TokenId token : tokenizer_->end_of_generation_tokens()) {
            asked.sampler.logit_bias.emplace_back(token, -std::numeric_limits<float>::infinity());
        }
    }
    for (std::uint32_t choice = 0; choice < asked.n; ++choice) {
        const SeqId seq(next_sequence_++);
        Sequence sequence{.id = seq,
                          .request = id,
                          .choice = choice,
                          .tokens = asked.prompt,
                          .text = AnswerText(tokenizer_, asked.stop)};
        sequence.leads = choice == 0 && asked.n > 1;
        // The others wait until the leader's pages can be shared.
        if (choice > 0) sequence.sampling = true;
        request.sequences.push_back(seq);
        sequences_.emplace(seq, std::move(sequence));
        if (choice > 0) continue;
        rotation_.push_back(seq);
        operate({.kind = OperationKind::kOpen, .seq = seq, .sampler = asked.sampler});
    }
    asked.prompt.clear();
    request.asked = std::move(asked);
    requests_.emplace(id, std::move(request));
}

/// Applies an operation to our own page table and sends it with the next batch.
void Scheduler::operate(Operation operation) {
    const Status applied = pages_->apply(operation);
    POTLUCK_CHECK(applied.has_value());
    operations_.push_back(std::move(operation));
}

/// The leader has fed all but the last prompt token: the other choices take its pages.
void Scheduler::fork_choices(const Sequence& leader) {
    const Request& request = requests_.at(leader.request);
    for (std::size_t choice = 1; choice < request.sequences.size(); ++choice) {
        const auto found = sequences_.find(request.sequences[choice]);
        if (found == sequences_.end()) continue;
        Sequence& other = found->second;
        SamplerSpec sampler = request.asked.sampler;
        sampler.seed += choice;
        operate({.kind = OperationKind::kOpen, .seq = other.id, .sampler = std::move(sampler)});
        operate({.kind = OperationKind::kFork,
                 .seq = other.id,
                 .source = leader.id,
                 .length = static_cast<std::uint32_t>(leader.fed)});
        other.fed = leader.fed;
        other.sampling = false;
        rotation_.push_back(other.id);
    }
}

void Scheduler::add_row(Batch& batch, Sequence& sequence) {
    const Request& request = requests_.at(sequence.request);
    Row row{.seq = sequence.id,
            .position = static_cast<std::uint32_t>(sequence.fed),
            .token = sequence.tokens[sequence.fed],
            .logprobs = kNoLogprobs};
    ++sequence.fed;
    if (sequence.fed == sequence.tokens.size()) {
        row.flags = kRowSample;
        if (request.asked.logprobs) row.logprobs = request.asked.top_logprobs;
        sequence.sampling = true;
    }
    std::vector<engine::PageCopy> copies;
    const auto placed = pages_->append(sequence.id, row.position, copies);
    POTLUCK_CHECK(placed.has_value());
    batch.rows.push_back(row);
}

/// One row of each sequence whose next token is known, but no more than this batch's share of all
/// that decode: the others keep the other stages busy.
void Scheduler::add_decode_rows(Batch& batch) {
    const auto decodes = [](const auto& entry) {
        return entry.second.fed > 0 && entry.second.tokens.size() - entry.second.fed <= 1;
    };
    const auto decoding =
        static_cast<std::size_t>(std::count_if(sequences_.begin(), sequences_.end(), decodes));
    const std::size_t depth = std::min(limits_.stages, limits_.max_in_flight);
    const std::size_t share = std::min((decoding + depth - 1) / depth, limits_.max_batch_rows);
    for (std::size_t turn = rotation_.size(); turn > 0 && batch.rows.size() < share; --turn) {
        const SeqId id = rotation_.front();
        rotation_.pop_front();
        rotation_.push_back(id);
        Sequence& sequence = sequences_.at(id);
        if (sequence.fed > 0 && sequence.to_feed() == 1 && !sequence.leads)
            add_row(batch, sequence);
    }
}

/// Chunks of prompts, the oldest first, up to the chunk size over all of them.
void Scheduler::add_prefill_rows(Batch& batch) {
    std::size_t room = std::min(options_.prefill_chunk, limits_.max_batch_rows - batch.rows.size());
    std::vector<SeqId> leaders;
    for (auto& [id, sequence] : sequences_) {
        if (room == 0) break;
        const bool prompt_left = sequence.to_feed() > 0 &&
                                 (sequence.leads || sequence.fed == 0 || sequence.to_feed() > 1);
        if (!prompt_left) continue;
        const std::size_t stop_at = sequence.tokens.size() - (sequence.leads ? 1 : 0);
        while (room > 0 && sequence.fed < stop_at) {
            add_row(batch, sequence);
            --room;
        }
        if (sequence.leads && sequence.fed == stop_at) {
            sequence.leads = false;
            leaders.push_back(id);
        }
    }
    for (const SeqId id : leaders)
        fork_choices(sequences_.at(id));
}

/// True if the batch has anything to say.
bool Scheduler::fill(Batch& batch) {
    batch.operations = std::move(operations_);
    operations_.clear();
    add_decode_rows(batch);
    add_prefill_rows(batch);
    return !batch.rows.empty() || !batch.operations.empty();
}

void Scheduler::pump(SchedulerActions& actions) {
    if (!running()) return;
    admit();
    while (in_flight_.size() < limits_.max_in_flight) {
        Batch batch;
        batch.id = BatchId(next_batch_);
        if (!fill(batch)) return;
        ++next_batch_;
        auto& sampled = in_flight_[batch.id];
        for (const Row& row : batch.rows) {
            if ((row.flags & kRowSample) != 0) sampled.push_back(row.seq);
        }
        actions.push_back(SendBatch{std::move(batch)});
    }
}

Status Scheduler::on_result(const StepResult& result, SchedulerActions& actions) {
    // Links keep order, so results come in the order of their batches.
    if (in_flight_.empty() || in_flight_.begin()->first != result.batch) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("a result for batch {} came, which is not the next one",
                                 result.batch.value));
    }
    const std::vector<SeqId> asked = std::move(in_flight_.begin()->second);
    in_flight_.erase(in_flight_.begin());
    POTLUCK_TRY(take_results(result, asked, actions));
    pump(actions);
    return {};
}

/// Tokens come in the order of the rows that asked for them; only those of sequences that are
/// cancelled by now may be missing.
Status Scheduler::take_results(const StepResult& result, const std::vector<SeqId>& asked,
                               SchedulerActions& actions) {
    auto next = asked.begin();
    std::size_t entry = 0;
    for (const auto& row : result.rows) {
        while (next != asked.end() && *next != row.seq && !sequences_.contains(*next))
            ++next;
        if (next == asked.end() || *next != row.seq) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("batch {}: a token of sequence {} came out of turn",
                                     result.batch.value, row.seq.value));
        }
        ++next;
        if (entry + row.n_top + row.n_proposed > result.entries.size()) {
            return error(
                ErrorCode::kCorrupt,
                fmt::format("batch {}: a row's alternatives are missing", result.batch.value));
        }
        const auto found = sequences_.find(row.seq);
        if (found != sequences_.end()) {
            if (row.position + 1 != found->second.fed) {
                return error(
                    ErrorCode::kCorrupt,
                    fmt::format("sequence {}: a token for position {} came, {} was expected",
                                row.seq.value, row.position + 1, found->second.fed));
            }
            take_token(found->second, result, row, entry, actions);
        }
        entry += std::size_t{row.n_top} + row.n_proposed;
    }
    for (; next != asked.end(); ++next) {
        if (!sequences_.contains(*next)) continue;
        return error(ErrorCode::kCorrupt, fmt::format("batch {}: no token of sequence {} came",
                                                      result.batch.value, next->value));
    }
    return {};
}

void Scheduler::take_token(Sequence& sequence, const StepResult& result, const ResultRow& row,
                           std::size_t entry, SchedulerActions& actions) {
    Request& request = requests_.at(sequence.request);
    sequence.sampling = false;
    sequence.tokens.push_back(row.token);
    ++request.generated;
    Delta delta{.choice = sequence.choice};
    if (tokenizer_->ends_generation(row.token)) {
        sequence.text.finish(delta);
        return end_choice(sequence, FinishReason::kStop, std::move(delta), actions);
    }
    TokenReport report{.token = row.token, .logprob = row.logprob};
    const auto first = result.entries.begin() + static_cast<std::ptrdiff_t>(entry);
    report.top.assign(first, first + row.n_top);
    if (sequence.text.push(std::move(report), delta)) {
        return end_choice(sequence, FinishReason::kStop, std::move(delta), actions);
    }
    if (sequence.tokens.size() - request.prompt_tokens >= request.asked.max_tokens) {
        sequence.text.finish(delta);
        return end_choice(sequence, FinishReason::kLength, std::move(delta), actions);
    }
    if (!delta.text.empty() || !delta.tokens.empty()) {
        actions.push_back(EmitDelta{sequence.request, std::move(delta)});
    }
}

void Scheduler::end_choice(Sequence& sequence, FinishReason reason, Delta delta,
                           SchedulerActions& actions) {
    const RequestId id = sequence.request;
    if (!delta.text.empty() || !delta.tokens.empty())
        actions.push_back(EmitDelta{id, std::move(delta)});
    actions.push_back(EmitFinish{id, sequence.choice, reason});
    release(sequence.id);
    Request& request = requests_.at(id);
    if (--request.open_choices > 0) return;
    actions.push_back(EmitDone{id,
                               {.prompt_tokens = static_cast<std::uint32_t>(request.prompt_tokens),
                                .completion_tokens = request.generated}});
    reserved_pages_ -= request.reserved_pages;
    requests_.erase(id);
}

void Scheduler::release(SeqId id) {
    if (pages_->contains(id)) operate({.kind = OperationKind::kRelease, .seq = id});
    sequences_.erase(id);
    std::erase(rotation_, id);
}

void Scheduler::cancel(RequestId id, SchedulerActions& actions) {
    std::erase_if(queue_, [&](const auto& waiting) { return waiting.first == id; });
    if (const auto found = requests_.find(id); found != requests_.end()) {
        for (const SeqId seq : found->second.sequences) {
            if (!sequences_.contains(seq)) continue;
            if (pages_->contains(seq)) actions.push_back(SendCancel{seq, 1});
            release(seq);
        }
        reserved_pages_ -= found->second.reserved_pages;
        requests_.erase(found);
    }
    // Whoever waited behind it may fit now.
    pump(actions);
}

}  // namespace potluck::coordinator
