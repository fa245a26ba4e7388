// A pipeline is lost, and another one comes: nobody's answer ends for that. What was sampled is
// known here and is fed again; what was on its way is sampled again, and is the same, because a
// sample is a function of the tokens, the seed and the position.

#include <fmt/format.h>

#include <algorithm>

#include "coordinator/core/scheduler_state.h"

namespace potluck::coordinator {

void Scheduler::suspend(bool planned) {
    if (!running()) return;
    suspended_since_ = now_;
    if (!planned) ++counters_.losses;
    for (auto& [number, sequence] : sequences_) {
        abandon_drafts(sequence);
        sequence.replay_until = std::max(sequence.replay_until, sequence.fed);
        sequence.lost_until = std::max(sequence.lost_until, sequence.fed);
        sequence.seq = SeqId(0);
        sequence.fed = sequence.answered = sequence.forked = 0;
        sequence.planned = sequence.reserved = 0;
        sequence.sampling = sequence.shared = false;
        sequence.paused = true;
    }
    forget_pipeline();
}

void Scheduler::forget_pipeline() {
    in_flight_.clear();
    if (pool_) evictions_before_ += pool_->evictions();
    pool_.reset();
    pacing_.reset();
}

void Scheduler::stop(const Error& reason, SchedulerActions& actions) {
    for (const auto& [id, request] : requests_)
        actions.push_back(EmitError{id, reason});
    for (const auto& waiting : queue_.all())
        actions.push_back(EmitError{waiting.id, reason});
    for (auto& [number, sequence] : sequences_)
        end_drafts(sequence);
    requests_.clear();
    queue_.clear();
    sequences_.clear();
    forget_pipeline();
    suspended_since_.reset();
}

void Scheduler::give_up_if_late(const std::string& status, SchedulerActions& actions) {
    if (!suspended_since_ || now_ - *suspended_since_ < options_.patience) return;
    const auto seconds = std::chrono::duration<double>(options_.patience).count();
    stop({ErrorCode::kPeerLost,
          fmt::format("the cluster was not whole again within {:g} s ({}); ask again later",
                      seconds, status)},
         actions);
}

/// Why a request can never be served by a pipeline with these limits; empty if it can.
Status Scheduler::check_fits(std::size_t prompt, const GenerationRequest& asked) const {
    if (prompt + asked.max_tokens > limits_.context) {
        return error(ErrorCode::kPeerLost,
                     fmt::format("what is left of the cluster has a context of {} tokens, the "
                                 "request may need {}",
                                 limits_.context, prompt + asked.max_tokens));
    }
    if (asked.n > limits_.slots) {
        return error(ErrorCode::kPeerLost,
                     fmt::format("what is left of the cluster has {} slots, the request needs {}",
                                 limits_.slots, asked.n));
    }
    if (const std::size_t needed = pages_alone(prompt, asked); needed > limits_.kv_pages) {
        return error(ErrorCode::kPeerLost,
                     fmt::format("what is left of the cluster has {} KV pages of {} tokens, the "
                                 "request may need {}",
                                 limits_.kv_pages, limits_.page_tokens, needed));
    }
    return {};
}

/// After a loss: ends what the new pipeline can never hold.
void Scheduler::end_what_does_not_fit(SchedulerActions& actions) {
    std::vector<RequestId> ended;
    for (const auto& waiting : queue_.all()) {
        if (auto fits = check_fits(waiting.request.prompt.size(), waiting.request); !fits) {
            actions.push_back(EmitError{waiting.id, fits.error()});
            ended.push_back(waiting.id);
        }
    }
    for (const auto id : ended)
        queue_.erase(id);
    for (auto request = requests_.begin(); request != requests_.end();) {
        const auto& numbers = request->second.sequences;
        // At least one choice has not ended, else the request would be gone.
        const auto open = std::find_if(numbers.begin(), numbers.end(), [&](std::uint64_t number) {
            return sequences_.contains(number);
        });
        const std::size_t prompt = sequences_.at(*open).prompt;
        if (auto fits = check_fits(prompt, request->second.asked); !fits) {
            actions.push_back(EmitError{request->first, fits.error()});
            for (const auto number : numbers) {
                const auto found = sequences_.find(number);
                if (found == sequences_.end()) continue;
                end_drafts(found->second);
                sequences_.erase(found);
            }
            request = requests_.erase(request);
        } else {
            ++request;
        }
    }
}

}  // namespace potluck::coordinator
