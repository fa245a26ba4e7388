// A pipeline is lost, and another one comes: nobody's answer ends for that. What was sampled is
// known here and is fed again; what was on its way is sampled again, and is the same, because a
// sample is a function of the tokens, the seed and the position.

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <utility>

#include "coordinator/core/scheduler_state.h"

namespace potluck::coordinator {

void Scheduler::suspend(bool planned) {
    if (!running()) return;
    suspended_since_ = now_;
    if (!planned) ++counters_.losses;
    kept_.clear();
    for (auto& [number, sequence] : sequences_) {
        abandon_drafts(sequence);
        note_kept(sequence);
        sequence.lost_until = std::max(sequence.lost_until, sequence.fed);
        sequence.leave_stages();
        sequence.sampling = false;
    }
    forget_pipeline();
}

/// Only positions whose batches are answered: links keep order, so every stage has computed them.
/// And only what has pages of its own where rows must be fed again: what shares another's beginning
/// forks from that again.
void Scheduler::note_kept(Sequence& sequence) {
    const std::size_t positions = std::min(sequence.confirmed, sequence.tokens.size() - 1);
    if (!sequence.is_open() || positions == 0) return;
    const auto& table = pool_->table();
    const auto first_pages = [&](SeqId seq, std::size_t length) {
        const auto pages = table.pages(seq);
        return pages.first(
            std::min(pages.size(), (length + limits_.page_tokens - 1) / limits_.page_tokens));
    };
    const auto own = first_pages(sequence.seq, positions);
    const bool shares = std::any_of(kept_.begin(), kept_.end(), [&](const Kept& other) {
        const auto theirs = first_pages(other.seq, other.positions);
        return !own.empty() && !theirs.empty() && own.front() == theirs.front();
    });
    kept_.push_back({sequence.seq, sequence.number, static_cast<std::uint32_t>(positions), shares});
}

std::vector<engine::KeptSequence> Scheduler::kept() const {
    std::vector<engine::KeptSequence> all;
    for (const auto& kept : kept_)
        all.push_back({kept.seq, kept.positions});
    return all;
}

/// The stages wait with what they kept until each sequence is opened, or opened and released.
void Scheduler::take_up_kept() {
    const auto all = std::exchange(kept_, {});
    if (limits_.kept == KeptPages::kNone) return;
    const bool on_all = limits_.kept == KeptPages::kAll;
    for (const auto& kept : all) {
        const auto found = sequences_.find(kept.number);
        const bool wanted = found != sequences_.end() && (on_all || !kept.shares);
        const auto taken_up = [&](Sequence& sequence) {
            return pool_->take_up(kept.seq, sequence.tenant, sampler_of(sequence),
                                  std::span<const TokenId>(sequence.tokens).first(kept.positions),
                                  on_all);
        };
        if (!wanted || !taken_up(found->second)) {
            pool_->let_go(kept.seq);
            continue;
        }
        Sequence& sequence = found->second;
        sequence.seq = kept.seq;
        sequence.paused = false;
        ++counters_.replays;
        if (on_all) {
            sequence.fed = sequence.answered = kept.positions;
            counters_.rows_kept += kept.positions;
        } else {
            sequence.refill_until = kept.positions;
        }
    }
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
    // Of what stages were told to keep, the next pipeline lets go.
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
