// Drafted rows: what they may take, how they are verified and taken back.
//
// A sequence is its certain tokens and, behind them, those that are drafted and under way. Every
// drafted row is sampled as a certain one would be, so the sample of the last certain row decides:
// if it is the first drafted token, that token is certain and its row's sample is the next to come;
// if not, all drafted rows are junk, positions are taken back, and the sample is fed like any
// other.

#include <algorithm>
#include <span>
#include <utility>

#include "coordinator/core/scheduler_state.h"
#include "coordinator/core/speculation_report.h"

namespace potluck::coordinator {
namespace {

/// Of one sequence in one batch.
constexpr std::size_t kMostTogether = 64;
/// One more job is ahead if without it the slowest stage would rest for this part of its time.
constexpr double kWorthOneMore = 0.1;
/// A new round's weight in what is known of the way beyond the stages.
constexpr std::int64_t kWayWeight = 8;

}  // namespace

bool Scheduler::knows_speculation(const std::string& choice) const {
    if (choice.empty() || choice == "off") return true;
    return speculation_ && speculation_->knows(choice);
}

void Scheduler::begin_drafts(Sequence& sequence, const std::string& choice) {
    const std::string& wanted = choice.empty() ? options_.speculation : choice;
    if (!speculation_) return;
    speculation_->begin(sequence.number, sequence.tenant, sequence.tokens, wanted);
    sequence.draft.known = true;
    sequence.draft.on = wanted != "off";
}

/// The sequence ends: what its drafters did is added to its request.
void Scheduler::end_drafts(Sequence& sequence) {
    Drafting& draft = sequence.draft;
    if (!std::exchange(draft.known, false)) return;
    // The answer ended in the middle of a round: what is behind its end was not verified.
    draft.round.drafted = draft.round.accepted;
    if (draft.round.drafted > 0) end_round(sequence);
    SpeculationReport report = speculation_->end(sequence.number);
    if (!std::exchange(draft.on, false)) return;
    speculation_totals_.add(report);
    auto& sum = requests_.at(sequence.request).speculation;
    if (sum) {
        add(*sum, report);
    } else {
        sum = std::move(report);
    }
}

// -------------------------------------------------------------------------------------- planning

std::size_t Scheduler::certain_in_flight() const {
    return static_cast<std::size_t>(std::count_if(in_flight_.begin(), in_flight_.end(),
                                                  [](const auto& s) { return s.second.certain; }));
}

/// Batches with a row that somebody may still want.
std::size_t Scheduler::live_in_flight() const {
    const auto is_live = [&](const Asked& asked) {
        const auto found = sequences_.find(asked.number);
        return found != sequences_.end() && found->second.generation == asked.generation;
    };
    return static_cast<std::size_t>(
        std::count_if(in_flight_.begin(), in_flight_.end(), [&](const auto& sent) {
            const auto& asked = sent.second.asked;
            return sent.second.certain || std::any_of(asked.begin(), asked.end(), is_live);
        }));
}

/// From a batch's departure to its tokens' arrival with nothing else under way.
nanoseconds Scheduler::round_time(const Load& load) const {
    return pacing_->way_through(load) + beyond_stages_.value_or(nanoseconds(0));
}

/// What rounds cost that begin with `load`, in which this sequence's certain row is, with up to
/// `most` more rows of it. The stages as measured, and what a batch alone takes beyond them.
SpeculationCosts Scheduler::draft_costs(const Sequence& sequence, const Survey& survey, Load load,
                                        std::size_t most) {
    together_.clear();
    slowest_of_.clear();
    for (std::size_t k = 0; k <= most; ++k) {
        together_.push_back(round_time(load));
        slowest_of_.push_back(std::max(pacing_->slowest(load), nanoseconds(1)));
        ++load.rows;
        load.keys += sequence.fed + 1 + k;
    }
    // Every other batch of certain rows takes the place of one job.
    const double jobs = static_cast<double>(together_.front().count()) /
                        static_cast<double>(slowest_of_.front().count());
    return {.plain = together_.front(),
            .slowest = slowest_of_.front(),
            .together = together_,
            .slowest_of = slowest_of_,
            .window = std::max(jobs - static_cast<double>(survey.batches - 1), 1.0),
            .users = survey.users};
}

/// Drafted rows that can still be of use: the row of an answer's last token is never fed.
std::size_t Scheduler::draft_room(const Sequence& sequence, const Survey& survey) const {
    const std::size_t longest = sequence.prompt + requests_.at(sequence.request).asked.max_tokens;
    const std::size_t until = sequence.tokens.size() + sequence.draft.under_way.size() + 1;
    if (until >= longest || survey.load.rows >= limits_.max_batch_rows) return 0;
    return std::min({longest - until, limits_.max_batch_rows - survey.load.rows, kMostTogether});
}

/// Drafted rows, at most `most`, that fit into one batch of this load: jobs ahead go in batches of
/// their own, so all that is under way may be more.
std::size_t Scheduler::batch_room(const Load& load, std::size_t fed, std::size_t most) const {
    return std::min(most, pacing_->rows_beside(load, fed + 1, options_.step_budget));
}

/// Takes what may be fed of a draft into the batch: no token that ends an answer, and only pages
/// that nobody else has or is promised.
void Scheduler::plan_draft(Sequence& sequence, std::vector<TokenId> tokens, Survey& survey) {
    const auto useless = [&](TokenId token) {
        return token < 0 || std::cmp_greater_equal(token, tokenizer_->vocabulary_size()) ||
               tokenizer_->ends_generation(token);
    };
    tokens.erase(std::find_if(tokens.begin(), tokens.end(), useless), tokens.end());
    const std::size_t free = pool_->table().free_pages();
    const std::size_t others = survey.reserved - sequence.reserved;
    while (!tokens.empty()) {
        const std::size_t rows = sequence.planned + tokens.size();
        const std::size_t pages = pool_->table().pages_needed(sequence.seq, rows);
        if (others + pages <= free) {
            survey.reserved = others + pages;
            sequence.reserved = pages;
            break;
        }
        tokens.pop_back();
    }
    for (std::size_t i = 1; i <= tokens.size(); ++i)
        survey.load.keys += sequence.fed + sequence.planned + i;
    survey.load.rows += tokens.size();
    sequence.draft.planned = std::move(tokens);
}

/// Behind the certain rows of this batch, where nobody's prompt wants the room.
void Scheduler::plan_together(Survey& survey) {
    for (Sequence* sequence : survey.ready) {
        Drafting& draft = sequence->draft;
        draft.shape = DraftShape::kTogether;
        draft.ahead = false;
        draft.plain = {};
        if (!draft.on || !survey.prompts.empty()) continue;
        draft.plain = round_time(survey.load);
        std::size_t most = draft_room(*sequence, survey);
        if (most > 0) most = speculation_->considers(sequence->number, most);
        if (most == 0) continue;
        const std::size_t fits = batch_room(survey.load, sequence->fed, most);
        const auto costs = draft_costs(*sequence, survey, survey.load, fits);
        Draft proposed = speculation_->propose(sequence->number, {}, most, costs);
        if (proposed.tokens.size() > fits) proposed.tokens.resize(fits);
        const bool ahead = proposed.shape == DraftShape::kAhead;
        if (ahead) {
            draft.ahead = !proposed.tokens.empty();
            draft.jobs = proposed.jobs;
            // The job's first row is the certain one.
            const std::size_t job = std::max<std::size_t>(proposed.job, 1);
            proposed.tokens.resize(std::min(proposed.tokens.size(), job - 1));
        }
        plan_draft(*sequence, std::move(proposed.tokens), survey);
        if (ahead && !draft.planned.empty()) draft.shape = DraftShape::kAhead;
    }
}

/// A job of each sequence that wants it, in a batch of their own, if nothing certain could go now
/// and the stages have not enough to do. A place in flight stays free, so that what
/// becomes certain leaves at once.
void Scheduler::plan_ahead(Survey& survey) {
    if (!speculation_ || !survey.prompts.empty() || !survey.ready.empty()) return;
    if (in_flight_.empty() || in_flight_.size() + 1 >= limits_.max_in_flight) return;
    const std::size_t live = live_in_flight();
    const std::size_t rows = std::max<std::size_t>(survey.users / survey.batches, 1);
    const Load round{rows, rows * survey.keys_per_user()};
    for (auto& [number, sequence] : sequences_) {
        Drafting& draft = sequence.draft;
        const bool goes_on = draft.on && draft.ahead && sequence.decodes() && sequence.sampling;
        const bool together = !draft.under_way.empty() && draft.shape == DraftShape::kTogether;
        if (!goes_on || together) continue;
        const double jobs = draft.jobs + static_cast<double>(survey.batches - 1);
        if (jobs - static_cast<double>(live) < kWorthOneMore) continue;
        std::size_t most = draft_room(sequence, survey);
        if (most > 0) most = speculation_->considers(number, most);
        draft.ahead = most > 0;
        if (most == 0) continue;
        const std::size_t fits = batch_room(round, sequence.fed, most);
        const auto costs = draft_costs(sequence, survey, round, fits);
        Draft proposed = speculation_->propose(number, draft.under_way, most, costs);
        draft.ahead = proposed.shape == DraftShape::kAhead && !proposed.tokens.empty();
        if (!draft.ahead) continue;
        draft.jobs = proposed.jobs;
        const std::size_t job = std::max<std::size_t>(proposed.job, 1);
        proposed.tokens.resize(std::min({proposed.tokens.size(), job, fits + 1, most}));
        draft.shape = DraftShape::kAhead;
        plan_draft(sequence, std::move(proposed.tokens), survey);
        draft.ahead = !draft.planned.empty();
        if (draft.ahead) survey.ahead.push_back(&sequence);
    }
}

void Scheduler::add_drafts(Sequence& sequence, Batch& batch, InFlight& record) {
    Drafting& draft = sequence.draft;
    if (draft.shape == DraftShape::kTogether)
        draft.round = {.drafted = static_cast<std::uint32_t>(draft.planned.size())};
    const GenerationRequest& asked = requests_.at(sequence.request).asked;
    for (const TokenId token : draft.planned) {
        const Row row{.seq = sequence.seq,
                      .position = static_cast<std::uint32_t>(sequence.fed),
                      .token = token,
                      .generation = sequence.generation,
                      .flags = kRowSample | kRowSpeculative,
                      .logprobs = asked.logprobs ? asked.top_logprobs : kNoLogprobs};
        pool_->place(sequence.seq, row.position);
        ++sequence.fed;
        ++counters_.rows_drafted;
        draft.under_way.push_back(token);
        record.asked.push_back({sequence.seq, sequence.number, row.position, row.generation});
        batch.rows.push_back(row);
    }
    draft.planned.clear();
}

// ------------------------------------------------------------------------------------ verifying

/// The awaited sample is there and `token`: whether the first drafted row goes on from it. If not,
/// whatever is drafted is junk, and the stages are told of rows that they have not yet answered.
bool Scheduler::verify(Sequence& sequence, TokenId token, SchedulerActions& actions) {
    Drafting& draft = sequence.draft;
    if (draft.shape == DraftShape::kAhead && !draft.under_way.empty()) ++draft.round.drafted;
    const bool right = !draft.under_way.empty() && draft.under_way.front() == token;
    if (right) {
        draft.under_way.erase(draft.under_way.begin());
        sequence.awaited = sequence.generation;
        ++counters_.rows_accepted;
        if (draft.shape == DraftShape::kAhead) draft.ahead = true;
        return true;
    }
    sequence.sampling = false;
    sequence.turn = next_turn_++;
    if (draft.under_way.empty()) return false;
    const bool computing = sequence.answered < sequence.fed;
    take_back(sequence);
    if (computing) actions.push_back(SendCancel{sequence.seq, sequence.generation});
    return false;
}

/// After `verify`, with the new token in its place.
void Scheduler::tell_drafter(Sequence& sequence, const StepResult& result, const ResultRow& row,
                             std::size_t entry, bool right, nanoseconds sent) {
    Drafting& draft = sequence.draft;
    if (!draft.known) return;
    speculation_->observe(sequence.number, std::span<const TokenId>(&row.token, 1));
    if (row.n_proposed > 0) {
        std::vector<TokenId> proposed;
        for (std::size_t i = 0; i < row.n_proposed; ++i)
            proposed.push_back(result.entries[entry + row.n_top + i].token);
        speculation_->proposed_by_stage(sequence.number, proposed);
    }
    if (!draft.on) return;
    RoundVerdict& round = draft.round;
    const bool together = draft.shape == DraftShape::kTogether;
    const bool begins = !std::exchange(draft.in_round, true);
    if (!begins) ++round.tokens;
    round.shape = draft.shape;
    if (together) {
        round.took = now_ - sent;
    } else if (begins) {
        round.took = now_ - std::max(sent, draft.token_at);
    }
    round.plain = draft.plain;
    if (right) ++round.accepted;
    draft.token_at = now_;
    // A round of several rows ends with the first wrong one, or with the sample after the last.
    if (!right) end_round(sequence);
}

/// A certain row's round is over, or the results of a job ahead are all in.
void Scheduler::end_round(Sequence& sequence) {
    Drafting& draft = sequence.draft;
    if (!std::exchange(draft.in_round, false)) return;
    // Beside prompts nothing is drafted, and what a round took says nothing.
    if (draft.plain.count() > 0) speculation_->verdict(sequence.number, draft.round);
    draft.round = {};
}

/// Of a batch that was alone all the time: what it took beyond the stages' computing is links and
/// queues.
void Scheduler::learn_way(const InFlight& sent) {
    const bool alone = sent.alone && in_flight_.empty();
    if (!speculation_ || !alone || !sent.certain || now_ <= sent.sent) return;
    const nanoseconds beyond =
        std::max(now_ - sent.sent - pacing_->way_through(sent.load), nanoseconds(0));
    if (!beyond_stages_) beyond_stages_ = beyond;
    *beyond_stages_ += (beyond - *beyond_stages_) / kWayWeight;
}

// ----------------------------------------------------------------------------------- taking back

/// Drafted rows that are not verified give their positions back; their results mean nothing now.
void Scheduler::take_back(Sequence& sequence) {
    Drafting& draft = sequence.draft;
    if (draft.under_way.empty()) return;
    sequence.fed -= draft.under_way.size();
    draft.under_way.clear();
    draft.ahead = false;
    pool_->truncate(sequence.seq, sequence.fed);
    sequence.answered = std::min(sequence.answered, sequence.fed);
    sequence.confirmed = std::min(sequence.confirmed, sequence.fed);
    ++sequence.generation;
    sequence.generation_from = sequence.fed;
}

/// For pages, or because their sequence cannot go on now: nothing was verified.
void Scheduler::abandon_drafts(Sequence& sequence) {
    sequence.draft.round.drafted = sequence.draft.round.accepted;
    take_back(sequence);
}

/// Pages that taking back all drafts would free.
std::size_t Scheduler::draft_pages() const {
    std::size_t pages = 0;
    const std::size_t page = limits_.page_tokens;
    for (const auto& [number, sequence] : sequences_) {
        const std::size_t drafted = sequence.draft.under_way.size();
        if (drafted == 0) continue;
        pages += (sequence.fed + page - 1) / page - (sequence.fed - drafted + page - 1) / page;
    }
    return pages;
}

/// Frees pages for certain rows: of drafts first, then of what is kept for later prompts.
bool Scheduler::make_room(std::size_t pages) {
    if (pages > pool_->table().free_pages()) {
        for (auto& [number, sequence] : sequences_)
            abandon_drafts(sequence);
    }
    return pool_->make_room(pages);
}

}  // namespace potluck::coordinator
