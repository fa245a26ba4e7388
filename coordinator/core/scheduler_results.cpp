// Tokens come back; choices and requests end.

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "coordinator/core/scheduler_state.h"

namespace potluck::coordinator {
namespace {

/// A new answer's weight in the mean length of answers.
constexpr double kAnswerWeight = 0.1;

}  // namespace

Status Scheduler::on_result(const StepResult& result, SchedulerActions& actions) {
    // Links keep order, so results come in the order of their batches.
    if (in_flight_.empty() || in_flight_.begin()->first != result.batch) {
        broken_ = true;
        return error(ErrorCode::kCorrupt,
                     fmt::format("a result for batch {} came, which is not the next one",
                                 result.batch.value));
    }
    const InFlight sent = std::move(in_flight_.begin()->second);
    in_flight_.erase(in_flight_.begin());
    for (const auto& fed : sent.fed) {
        const auto found = sequences_.find(fed.number);
        if (found == sequences_.end() || found->second.seq != fed.seq) continue;
        Sequence& sequence = found->second;
        std::size_t until = fed.until;
        if (fed.generation != sequence.generation)
            until = std::min(until, sequence.generation_from);
        if (fed.generation + 1 >= sequence.generation) {
            sequence.answered = std::max(sequence.answered, until);
            sequence.confirmed = std::max(sequence.confirmed, until);
        }
    }
    learn_way(sent);
    told_.clear();
    auto taken = take_results(result, sent, told_);
    if (!taken) broken_ = true;
    if (speculation_) {
        for (const auto& fed : sent.fed) {
            const auto found = sequences_.find(fed.number);
            if (found != sequences_.end()) end_round(found->second);
        }
    }
    // The stages wait for the next batch: it leaves before anybody is told of the last one.
    const auto is_cancel = [](const SchedulerAction& action) {
        return std::holds_alternative<SendCancel>(action);
    };
    std::copy_if(told_.begin(), told_.end(), std::back_inserter(actions), is_cancel);
    pump(actions);
    std::erase_if(told_, is_cancel);
    std::move(told_.begin(), told_.end(), std::back_inserter(actions));
    return taken;
}

/// The sequence that goes on with what this row brings; null if the row is junk by now.
Scheduler::Sequence* Scheduler::waits_for(const Asked& asked) {
    const auto found = sequences_.find(asked.number);
    if (found == sequences_.end()) return nullptr;
    Sequence& sequence = found->second;
    const bool wanted = sequence.sampling && asked.generation == sequence.awaited &&
                        asked.position + 1 == sequence.tokens.size();
    return wanted ? &sequence : nullptr;
}

/// Tokens come in the order of the rows that asked for them; only those of sequences that are
/// cancelled by now, and of drafted rows behind a wrong one, may be missing. A paused sequence
/// takes its token too.
Status Scheduler::take_results(const StepResult& result, const InFlight& sent,
                               SchedulerActions& actions) {
    auto next = sent.asked.begin();
    const auto end = sent.asked.end();
    std::size_t entry = 0;
    for (const auto& row : result.rows) {
        while (next != end && (next->seq != row.seq || next->position != row.position) &&
               waits_for(*next) == nullptr)
            ++next;
        if (next == end || next->seq != row.seq) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("batch {}: a token of sequence {} came out of turn",
                                     result.batch.value, row.seq.value));
        }
        const auto& asked = *next++;
        if (entry + row.n_top + row.n_proposed > result.entries.size()) {
            return error(
                ErrorCode::kCorrupt,
                fmt::format("batch {}: a row's alternatives are missing", result.batch.value));
        }
        if (Sequence* sequence = waits_for(asked)) {
            if (row.position != asked.position) {
                return error(
                    ErrorCode::kCorrupt,
                    fmt::format("sequence {}: a token for position {} came, {} was expected",
                                row.seq.value, row.position + 1, asked.position + 1));
            }
            take_token(*sequence, result, row, entry, sent.sent, actions);
        }
        entry += std::size_t{row.n_top} + row.n_proposed;
    }
    for (; next != end; ++next) {
        if (waits_for(*next) == nullptr) continue;
        return error(ErrorCode::kCorrupt, fmt::format("batch {}: no token of sequence {} came",
                                                      result.batch.value, next->seq.value));
    }
    return {};
}

void Scheduler::take_token(Sequence& sequence, const StepResult& result, const ResultRow& row,
                           std::size_t entry, nanoseconds sent, SchedulerActions& actions) {
    Request& request = requests_.at(sequence.request);
    const bool right = verify(sequence, row.token, actions);
    sequence.tokens.push_back(row.token);
    tell_drafter(sequence, result, row, entry, right, sent);
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
    if (sequence.tokens.size() - sequence.prompt >= request.asked.max_tokens) {
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
    const std::size_t prompt = sequence.prompt;
    const auto answer = static_cast<double>(sequence.tokens.size() - prompt);
    usual_answer_ =
        usual_answer_ > 0 ? usual_answer_ + kAnswerWeight * (answer - usual_answer_) : answer;
    close(sequence, actions);
    sequences_.erase(sequence.number);
    Request& request = requests_.at(id);
    if (--request.open_choices > 0) return;
    actions.push_back(EmitDone{id,
                               {.prompt_tokens = static_cast<std::uint32_t>(prompt),
                                .completion_tokens = request.generated,
                                .cached_tokens = request.cached,
                                .speculation = std::move(request.speculation)}});
    requests_.erase(id);
}

/// The stages need not go on with a sequence. Rows that are under way become junk there, so only
/// what is known to have been computed is kept; unless others have forked from those rows, then the
/// stages must compute them after all. Drafted rows are never kept.
void Scheduler::close(Sequence& sequence, SchedulerActions& actions) {
    end_drafts(sequence);
    if (!sequence.is_open()) return;
    const bool under_way = sequence.answered < sequence.fed;
    take_back(sequence);
    std::size_t keep = sequence.fed;
    if (under_way && sequence.forked <= sequence.answered) {
        actions.push_back(SendCancel{sequence.seq, sequence.generation + 1});
        keep = sequence.answered;
    }
    pool_->end(sequence.seq, sequence.tenant,
               std::span<const TokenId>(sequence.tokens).first(keep));
}

/// Of a request that is cancelled.
void Scheduler::drop(Sequence& sequence, SchedulerActions& actions) {
    close(sequence, actions);
    sequences_.erase(sequence.number);
}

}  // namespace potluck::coordinator
