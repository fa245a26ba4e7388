// What goes into the next batch. First it is planned: whose rows, and pages for them; that may
// open, fork, pause and evict, and all these operations go before the batch's rows. Then the rows
// are placed and the batch is sent.

#include <algorithm>
#include <span>
#include <utility>

#include "base/check.h"
#include "coordinator/core/scheduler_state.h"

namespace potluck::coordinator {
namespace {

/// Prompts that are looked at for one batch.
constexpr std::size_t kMostPrompts = 64;

std::size_t common_beginning(std::span<const TokenId> a, std::span<const TokenId> b) {
    const auto n = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
    return static_cast<std::size_t>(std::mismatch(a.begin(), a.begin() + n, b.begin()).first -
                                    a.begin());
}

}  // namespace

Scheduler::Survey Scheduler::survey() {
    Survey survey;
    for (auto& [number, sequence] : sequences_) {
        sequence.planned = sequence.reserved = 0;
        sequence.draft.planned.clear();
        if (sequence.decodes()) {
            ++survey.users;
            survey.user_keys += sequence.fed + 1;
            if (sequence.to_feed() == 1) survey.ready.push_back(&sequence);
        } else if (!sequence.paused) {
            survey.prompts.push_back(&sequence);
            // Later choices feed only the last row.
            const bool follows = sequence.choice > 0 && !sequence.is_open();
            survey.prompt_rows += follows ? 1 : sequence.to_feed();
        }
    }
    std::sort(survey.ready.begin(), survey.ready.end(),
              [](const auto* a, const auto* b) { return a->turn < b->turn; });
    std::sort(survey.prompts.begin(), survey.prompts.end(), [&](const auto* a, const auto* b) {
        // Whose answer stopped in the middle goes before whose has not begun.
        const bool a_replays = a->replay_until > 0;
        const bool b_replays = b->replay_until > 0;
        if (a_replays != b_replays) return a_replays;
        if (a->rank.before(b->rank, served_)) return true;
        if (b->rank.before(a->rank, served_)) return false;
        return a->number < b->number;
    });
    return survey;
}

/// How many batches may be in flight at this moment.
std::size_t Scheduler::batches_wanted(const Survey& survey) {
    if (survey.prompts.empty())
        return pacing_->decode_batches(survey.users, survey.keys_per_user());
    // Rows of prompts wait for no result: what keeps the slowest stage busy is enough, and whoever
    // comes now or decodes waits for all that is ahead of it.
    if (survey.users == 0) {
        const std::size_t chunk = pacing_->chunk(survey.prompt_rows, 0, limits_.max_batch_rows);
        return std::min(pacing_->depth({chunk, 0}) + 1, limits_.max_in_flight);
    }
    const std::size_t rows = std::max<std::size_t>(survey.users, 32);
    return pacing_->depth({rows, rows * survey.keys_per_user()});
}

/// One row of each sequence whose next token is known, but no more than this batch's share of all
/// that decode.
void Scheduler::plan_decoding(Survey& survey) {
    if (survey.ready.empty()) return;
    const std::size_t batches = survey.batches;
    // As equal as can be: no more of the larger size are under way than there should be.
    const std::size_t larger = survey.users % batches;
    const auto is_larger = [&](const auto& sent) {
        return sent.second.certain && sent.second.fed.size() > survey.users / batches;
    };
    const bool large =
        std::cmp_less(std::count_if(in_flight_.begin(), in_flight_.end(), is_larger), larger);
    std::size_t share = std::max<std::size_t>(survey.users / batches + (large ? 1 : 0), 1);
    std::size_t most = limits_.max_batch_rows;
    if (!survey.prompts.empty()) {
        // Prompts need room, and where a chunk pays for the step anyway, rows beside it are cheap.
        const std::uint64_t keys = survey.keys_per_user();
        const nanoseconds step = pacing_->step_within(options_.step_budget / 2, {}, keys);
        share = std::max(share, pacing_->rows_within(step, {}, keys));
        most -= std::max<std::size_t>(most / 4, 1);
        if (limits_.max_batch_rows == 1) most = next_batch_ % 2;
    }
    survey.ready.resize(std::min({survey.ready.size(), share, most}));
    // The highest first: it must not be the one that finds no page.
    auto by_rank = survey.ready;
    std::sort(by_rank.begin(), by_rank.end(),
              [&](const auto* a, const auto* b) { return lower(*b, *a); });
    for (Sequence* sequence : by_rank) {
        if (!sequence->paused) make_room_for(*sequence, 1, survey.reserved);
    }
    std::erase_if(survey.ready, [](const auto* sequence) { return sequence->planned == 0; });
    for (const Sequence* sequence : survey.ready) {
        ++survey.load.rows;
        survey.load.keys += sequence->fed + 1;
    }
}

/// From where a sequence that is not open may fork; nothing if it should wait because another one
/// is feeding the same tokens right now. One that feeds rows into pages that stages kept is not
/// forked before it is through: what it writes there must stay its own.
std::optional<PrefixCache::Match> Scheduler::source_of(const Sequence& sequence,
                                                       const Survey& survey) {
    // The last token is always fed: its row is what the next token is sampled from.
    const auto tokens = std::span<const TokenId>(sequence.tokens).first(sequence.tokens.size() - 1);
    if (sequence.choice > 0 && !tokens.empty() && sequence.tokens.size() == sequence.prompt) {
        const auto first = sequences_.find(requests_.at(sequence.request).sequences.front());
        if (first != sequences_.end() && !first->second.paused) {
            if (first->second.fed < std::max(tokens.size(), first->second.refill_until))
                return std::nullopt;
            return PrefixCache::Match{first->second.seq, static_cast<std::uint32_t>(tokens.size())};
        }
    }
    auto match = pool_->find(sequence.tenant, tokens);
    for (const Sequence* other : survey.prompts) {
        if (other == &sequence) break;
        if (!other->is_open() || other->tenant != sequence.tenant) continue;
        const std::size_t shared = common_beginning(other->tokens, tokens);
        if (shared < match.length + std::max<std::size_t>(options_.least_shared, 1)) continue;
        if (other->fed < std::max(shared, other->refill_until)) return std::nullopt;
        match = {other->seq, static_cast<std::uint32_t>(shared)};
    }
    return match;
}

bool Scheduler::open(Sequence& sequence, Survey& survey) {
    const auto match = source_of(sequence, survey);
    if (!match) return false;
    Sequence* source = nullptr;
    for (auto& [number, other] : sequences_) {
        if (match->length > 0 && other.seq == match->seq) source = &other;
    }
    // If the source writes in this batch, its last page becomes a shared one and must be copied.
    const bool writes = source != nullptr && source->planned > 0;
    if (writes && !make_room(survey.reserved + 1)) return false;
    sequence.seq = SeqId(next_seq_++);
    pool_->open(sequence.seq, sequence.tenant, sampler_of(sequence), *match);
    sequence.fed = sequence.answered = match->length;
    if (writes) {
        survey.reserved -= source->reserved;
        source->reserved = pool_->table().pages_needed(source->seq, source->planned);
        survey.reserved += source->reserved;
    }
    if (source != nullptr) {
        source->forked = std::max<std::size_t>(source->forked, match->length);
        if (source->request == sequence.request) return true;
    }
    if (match->length == 0) return true;
    ++counters_.prefix_hits;
    counters_.rows_from_cache += match->length;
    if (sequence.choice == 0 && sequence.replay_until == 0)
        requests_.at(sequence.request).cached = match->length;
    return true;
}

/// At most `most` rows of one prompt; how many found pages.
std::size_t Scheduler::plan_prompt(Sequence& sequence, std::size_t most, Survey& survey) {
    std::size_t rows = std::min(most, sequence.to_feed());
    const auto needed = [&](std::size_t n) {
        return survey.reserved + pool_->table().pages_needed(sequence.seq, n);
    };
    if (!make_room(needed(rows))) {
        while (rows > 0 && needed(rows) > pool_->table().free_pages())
            --rows;
    }
    if (rows == 0) return 0;
    sequence.planned = rows;
    sequence.reserved = needed(rows) - survey.reserved;
    survey.reserved += sequence.reserved;
    survey.load.rows += rows;
    for (std::size_t i = 1; i <= rows; ++i)
        survey.load.keys += sequence.fed + i;
    return rows;
}

/// Chunks of prompts in the order of service, under the time that a step may take.
void Scheduler::plan_prompts(Survey& survey) {
    if (survey.prompts.empty()) return;
    const std::uint64_t keys = survey.prompts.front()->fed + 1;
    std::size_t room = limits_.max_batch_rows - survey.load.rows;
    if (options_.prefill_chunk > 0) room = std::min(room, options_.prefill_chunk);
    if (room == 0) return;
    // Whoever's first token this batch brings decodes next, and must not wait for strangers.
    // Its rows read more keys from one to the next: first as if all read as many as the first one,
    // then as the middle one of those.
    const std::size_t at_most = pacing_->rows_beside(survey.load, keys, options_.step_budget);
    const std::size_t beside =
        std::min(room, pacing_->rows_beside(survey.load, keys + at_most / 2, options_.step_budget));
    // Of one size while the stages are full: smaller ones at the end would only cost more steps.
    const std::size_t chunk = pacing_->chunk(survey.prompt_rows, keys, room);
    chunk_ = in_flight_.empty() ? chunk : std::max(chunk_, chunk);
    std::size_t left = survey.users > 0 ? beside : std::min(chunk_, room);
    std::size_t used = 0;
    std::size_t looked_at = 0;
    std::optional<nanoseconds> first_token;  ///< what a step may take that brings one
    for (Sequence* sequence : survey.prompts) {
        if (left == 0 || ++looked_at > kMostPrompts) return;
        if (sequence->paused) continue;  // for one that decodes, a moment ago
        // Whoever gets no row stays as it is: must_not_wait looks for those.
        if (first_token && pacing_->rows_within(*first_token, survey.load, keys) == 0) return;
        if (!sequence->is_open() && !open(*sequence, survey)) continue;
        if (first_token) {
            const std::uint64_t middle = sequence->fed + std::min(left, sequence->to_feed()) / 2;
            left = std::min(left, pacing_->rows_within(*first_token, survey.load, middle));
            if (left == 0) return;
        }
        const std::size_t rows = plan_prompt(*sequence, left, survey);
        if (rows == 0) return;  // no page is left: those behind it must not take its place
        used += rows;
        left -= rows;
        if (rows < sequence->to_feed()) continue;
        left = std::min(left, beside - std::min(beside, used));
        if (!first_token) first_token = pacing_->full_chunk(sequence->fed + rows / 2);
    }
}

/// Whether a prompt has come of which no row is sent yet, while the slowest stage will have done
/// all that is in flight well before the first result is back: small batches that follow a large
/// one are soon done and wait for it.
bool Scheduler::must_not_wait(const Survey& survey) const {
    if (in_flight_.size() >= limits_.max_in_flight) return false;
    const auto is_new = [](const Sequence* sequence) { return !sequence->is_open(); };
    if (std::none_of(survey.prompts.begin(), survey.prompts.end(), is_new)) return false;
    nanoseconds work{};
    nanoseconds passage{};
    for (const auto& [id, sent] : in_flight_) {
        work += pacing_->slowest(sent.load);
        passage = std::max(passage, pacing_->way_through(sent.load));
    }
    return 4 * work < 3 * passage;
}

bool Scheduler::compose(SchedulerActions& actions) {
    Survey plan = survey();
    plan.batches = batches_wanted(plan);
    const bool sendable = certain_in_flight() < plan.batches || must_not_wait(plan);
    if (sendable) {
        plan_decoding(plan);
        plan_prompts(plan);
        plan_together(plan);
    }
    if (plan.load.rows == 0) plan_ahead(plan);
    // Operations alone are sent only where no rows will take them along soon.
    if (plan.load.rows == 0 && !(pool_->has_operations() && in_flight_.empty())) return false;
    send(plan, actions);
    return true;
}

/// The planned rows, then the planned drafts.
void Scheduler::add_rows(Sequence& sequence, Batch& batch, InFlight& record) {
    const Request& request = requests_.at(sequence.request);
    if (sequence.planned > 0) record.certain = true;
    for (; sequence.planned > 0; --sequence.planned) {
        Row row{.seq = sequence.seq,
                .position = static_cast<std::uint32_t>(sequence.fed),
                .token = sequence.tokens[sequence.fed],
                .generation = sequence.generation,
                .logprobs = kNoLogprobs};
        const bool replayed = sequence.fed < sequence.replay_until;
        const bool prompt = sequence.fed < sequence.prompt;
        ++(replayed ? counters_.rows_replayed
           : prompt ? counters_.rows_prefilled
                    : counters_.rows_decoded);
        if (sequence.fed < sequence.lost_until) ++counters_.rows_recomputed;
        if (sequence.fed < sequence.refill_until) ++counters_.rows_refilled;
        if (replayed || prompt) ++served_;
        pool_->place(sequence.seq, row.position);
        ++sequence.fed;
        if (sequence.fed == sequence.tokens.size()) {
            row.flags = kRowSample;
            if (request.asked.logprobs) row.logprobs = request.asked.top_logprobs;
            sequence.sampling = true;
            sequence.awaited = sequence.generation;
            record.asked.push_back(
                {sequence.seq, sequence.number, row.position, sequence.generation});
        }
        batch.rows.push_back(row);
    }
    add_drafts(sequence, batch, record);
    record.fed.push_back({sequence.seq, sequence.number, sequence.fed, sequence.generation});
    if (sequence.sampling && !sequence.shared) {
        pool_->share(sequence.seq, sequence.tenant, sequence.tokens);
        sequence.shared = true;
    }
}

void Scheduler::send(const Survey& plan, SchedulerActions& actions) {
    Batch batch;
    batch.id = BatchId(next_batch_++);
    batch.operations = pool_->take_operations();
    batch.rows.reserve(plan.load.rows);
    const bool alone = in_flight_.empty();
    InFlight& record = in_flight_[batch.id];
    record.id = batch.id;
    record.load = plan.load;
    record.sent = now_;
    record.alone = alone;
    for (const auto* list : {&plan.ready, &plan.prompts, &plan.ahead}) {
        for (Sequence* sequence : *list) {
            if (sequence->planned > 0 || !sequence->draft.planned.empty())
                add_rows(*sequence, batch, record);
        }
    }
    ++counters_.batches;
    actions.push_back(SendBatch{std::move(batch)});
}

}  // namespace potluck::coordinator
