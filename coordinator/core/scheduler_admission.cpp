// Who may run: slots, pages, and who is paused when pages run out.

#include <limits>

#include "base/check.h"
#include "coordinator/core/scheduler_state.h"

namespace potluck::coordinator {
/// The length to which pages are wanted for a sequence before another one is let in.
std::size_t Scheduler::growth(const Sequence& sequence) const {
    const std::size_t longest = sequence.prompt + requests_.at(sequence.request).asked.max_tokens;
    return std::min(longest, sequence.tokens.size() + options_.growth_tokens);
}

/// Pages that those who run will take: for what they must be fed and some growth.
std::size_t Scheduler::promised_pages() const {
    std::size_t pages = 0;
    const std::size_t page = limits_.page_tokens;
    for (const auto& [number, sequence] : sequences_) {
        if (sequence.paused) continue;
        const std::size_t length = growth(sequence);
        if (sequence.is_open()) {
            pages +=
                pool_->table().pages_needed(sequence.seq, length - std::min(length, sequence.fed));
        } else {
            // Later choices share the whole pages of their prompt with the first.
            const std::size_t shared = sequence.choice > 0 ? (sequence.prompt - 1) / page : 0;
            pages += (length + page - 1) / page - shared;
        }
    }
    return pages;
}

bool Scheduler::fits(std::size_t pages, std::size_t promised) {
    const std::size_t wanted = pages + promised;
    if (wanted <= pool_->table().free_pages()) return true;
    const std::size_t available = pool_->available();
    if (wanted <= available) return true;
    if (wanted > available + draft_pages()) return false;
    for (auto& [number, sequence] : sequences_)
        abandon_drafts(sequence);
    return true;
}

/// Paused sequences first, then waiting requests in their order, while there is room.
void Scheduler::admit() {
    std::size_t promised = promised_pages();
    bool all = true;
    while (resume_paused(promised, all)) {
    }
    if (!all) return;
    while (admit_next(promised)) {
    }
}

/// Lets the highest paused sequence go on; false if none can. `all` becomes false if one must stay
/// paused: then nobody new comes in either.
bool Scheduler::resume_paused(std::size_t& promised, bool& all) {
    Sequence* highest = nullptr;
    bool someone_runs = false;
    for (auto& [number, sequence] : sequences_) {
        if (!sequence.paused) someone_runs = true;
        if (sequence.paused && (highest == nullptr || lower(*highest, sequence)))
            highest = &sequence;
    }
    if (highest == nullptr) return false;
    all = false;
    if (highest->sampling) return false;  // its token is on its way
    const auto tokens = std::span<const TokenId>(highest->tokens).first(highest->tokens.size() - 1);
    const std::size_t pages =
        pool_->pages_for(growth(*highest), pool_->find(highest->tenant, tokens));
    if (someone_runs && !fits(pages, promised)) return false;
    all = true;
    highest->paused = false;
    promised += pages;
    ++counters_.replays;
    return true;
}

bool Scheduler::admit_next(std::size_t& promised) {
    const auto* next = queue_.next(served_);
    if (next == nullptr) return false;
    const GenerationRequest& asked = next->request;
    if (sequences_.size() + asked.n > limits_.slots) return false;
    const auto tokens = std::span<const TokenId>(asked.prompt).first(asked.prompt.size() - 1);
    const auto match = pool_->find(asked.tenant, tokens);
    const std::size_t page = limits_.page_tokens;
    const std::size_t length =
        asked.prompt.size() + std::min<std::size_t>(asked.max_tokens, options_.growth_tokens);
    const std::size_t shared = (asked.prompt.size() - 1) / page;
    const std::size_t pages =
        pool_->pages_for(length, match) + (asked.n - 1) * ((length + page - 1) / page - shared);
    // Alone it always fits: submit() has seen to that.
    if (!sequences_.empty() && !fits(pages, promised)) return false;
    promised += pages;
    begin(queue_.take(next->id));
    return true;
}

SamplerSpec Scheduler::sampler_of(const Sequence& sequence) const {
    SamplerSpec sampler = requests_.at(sequence.request).asked.sampler;
    sampler.seed += sequence.choice;
    return sampler;
}

void Scheduler::begin(RequestQueue::Waiting waiting) {
    GenerationRequest& asked = waiting.request;
    if (asked.ignore_eos) {
        for (const TokenId token : tokenizer_->end_of_generation_tokens()) {
            asked.sampler.logit_bias.emplace_back(token, -std::numeric_limits<float>::infinity());
        }
    }
    Request request;
    request.open_choices = asked.n;
    for (std::uint32_t choice = 0; choice < asked.n; ++choice) {
        const std::uint64_t number = next_number_++;
        sequences_.emplace(number, Sequence{.number = number,
                                            .request = waiting.id,
                                            .tenant = asked.tenant,
                                            .choice = choice,
                                            .tokens = asked.prompt,
                                            .prompt = asked.prompt.size(),
                                            .rank = waiting.rank,
                                            .text = AnswerText(tokenizer_, asked.stop)});
        request.sequences.push_back(number);
        begin_drafts(sequences_.at(number), asked.speculation);
    }
    asked.prompt = {};
    request.asked = std::move(asked);
    requests_.emplace(waiting.id, std::move(request));
}

/// Whether `a` is paused before `b`.
bool Scheduler::lower(const Sequence& a, const Sequence& b) const {
    if (a.rank.priority != b.rank.priority) return a.rank.priority > b.rank.priority;
    return a.number > b.number;
}

Scheduler::Sequence* Scheduler::lowest_with_pages() {
    Sequence* lowest = nullptr;
    for (auto& [number, sequence] : sequences_) {
        if (!sequence.is_open() || pool_->table().pages(sequence.seq).empty()) continue;
        if (lowest == nullptr || lower(sequence, *lowest)) lowest = &sequence;
    }
    return lowest;
}

/// What it has is kept as if it had ended, and goes page by page as others need it. A token that is
/// on its way is taken when it comes.
void Scheduler::pause(Sequence& sequence) {
    abandon_drafts(sequence);
    const auto fed = std::span<const TokenId>(sequence.tokens).first(sequence.fed);
    pool_->end(sequence.seq, sequence.tenant, fed);
    sequence.leave_stages();
    ++counters_.pauses;
}

/// Reserves pages for rows of a sequence beside those reserved already: from what is kept, then
/// from sequences below it. If it is the lowest itself, it is paused and false returned.
bool Scheduler::make_room_for(Sequence& sequence, std::size_t rows, std::size_t& reserved) {
    while (true) {
        const std::size_t pages = pool_->table().pages_needed(sequence.seq, rows);
        if (make_room(reserved + pages)) {
            sequence.planned = rows;
            sequence.reserved = pages;
            reserved += pages;
            return true;
        }
        Sequence* lowest = lowest_with_pages();
        POTLUCK_CHECK(lowest != nullptr);
        reserved -= lowest->reserved;
        const bool itself = lowest == &sequence;
        pause(*lowest);
        if (itself) return false;
    }
}

}  // namespace potluck::coordinator
