#include "coordinator/speculate/speculator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "coordinator/speculate/attention.h"
#include "coordinator/speculate/calibration.h"
#include "coordinator/speculate/debt_account.h"
#include "coordinator/speculate/draft_choice.h"

namespace potluck::coordinator {
namespace {

constexpr std::size_t kReadPerCall = 512;  ///< tokens of a long prompt
/// A drafter that could not pay even if it were always right is asked once in so many times: what
/// it costs may change.
constexpr std::uint32_t kTooDear = 64;
constexpr std::size_t kMostUntold = 64;  ///< tokens that patient drafters have not heard of
/// A guess of so much evidence that goes on well is kept while so many of its tokens are left.
constexpr std::uint32_t kSettled = 8;
constexpr std::size_t kEnoughLeft = 48;
/// Jobs ahead are given up for a round together if that is better by so much.
constexpr double kToSwitch = 1.15;

enum class Why : std::uint8_t { kNone, kReading, kNoIdea, kCosts, kUnsure, kDebt, kPays };

/// As metrics call it.
std::string_view name_of(Why why) {
    constexpr std::array<std::string_view, 7> names = {"none",   "reading", "no_idea", "costs",
                                                       "unsure", "debt",    "pays"};
    return names[static_cast<std::size_t>(why)];
}

/// One drafter, and how much it is believed.
struct Arm {
    const DrafterKind* kind = nullptr;
    std::unique_ptr<Drafter> drafter;
    Calibration calibration;
};

/// One drafter's part in one sequence.
struct Source {
    std::size_t arm = 0;
    bool drafts = true;      ///< else it only listens
    Proposal guess;          ///< made behind some certain token
    std::size_t scored = 0;  ///< of its tokens, those that came since
    Calibration::Cells cells{};
    bool is_dear = false;        ///< could not pay, by the last costs, even if always right
    std::uint32_t too_dear = 0;  ///< times that it was not asked

    /// What is left of the guess, behind the newest certain token.
    std::span<const TokenId> rest() const {
        return std::span<const TokenId>(guess.tokens).subspan(scored);
    }
    std::uint32_t evidence() const { return guess.evidence + static_cast<std::uint32_t>(scored); }
    void forget() {
        guess.clear();
        scored = 0;
    }
};

struct Sequence {
    bool off = false;
    bool named = false;
    std::vector<TokenId> unread;  ///< of the prompt and what followed, from `read` on
    std::size_t read = 0;
    std::size_t prompt = 0;  ///< of `unread`
    std::vector<Source> sources;
    std::vector<TokenId> untold;  ///< of patient drafters
    DebtAccount debt;
    RoundTimes times;
    std::size_t job = 1;  ///< of kAhead: rows
    DraftShape shape = DraftShape::kTogether;
    Attention attention;
    std::uint64_t position = 0;              ///< certain tokens of the answer
    std::optional<std::uint64_t> looked_at;  ///< position at which drafters were asked
    std::size_t longest = 0;                 ///< of their guesses
    Why why = Why::kNone;
    std::size_t arm = 0;
    Bet bet;
    SpeculationReport report;
};

/// A draft that may be made.
struct Offer {
    std::size_t source = 0;
    DraftShape shape = DraftShape::kTogether;
    Bet bet;
    double score = 0;
};

std::pair<std::string_view, std::string_view> split(std::string_view choice) {
    const auto colon = choice.find(':');
    if (colon == std::string_view::npos) return {choice, {}};
    return {choice.substr(0, colon), choice.substr(colon + 1)};
}

std::string ahead_name(std::string_view drafter, std::size_t rows) {
    return rows == 1 ? fmt::format("{} ahead", drafter)
                     : fmt::format("{} ahead by {}", drafter, rows);
}

class Speculator final : public Speculation {
  public:
    explicit Speculator(const SpeculatorOptions& options) : options_(options) {
        options_.longest_draft = std::max<std::size_t>(options_.longest_draft, 1);
        sure_.assign(options_.longest_draft, Chance{1, 1});
        for (const auto* kind : drafters::drafter_kinds()) {
            if (kind->for_tests && !options_.test_drafters) continue;
            auto drafter = kind->make(options_.drafters);
            if (drafter) arms_.push_back({kind, std::move(drafter), Calibration(kind->prior)});
        }
    }

    void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
               const std::string& choice) override;
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override;
    std::size_t considers(std::uint64_t number, std::size_t most) override;
    Draft propose(std::uint64_t number, std::span<const TokenId> under_way, std::size_t most,
                  const SpeculationCosts& costs) override;
    void proposed_by_stage(std::uint64_t number, std::span<const TokenId> tokens) override;
    void verdict(std::uint64_t number, const RoundVerdict& round) override;
    SpeculationReport end(std::uint64_t number) override;
    bool knows(const std::string& choice) const override;

  private:
    const Arm* named(std::string_view name) const;
    bool read_on(std::uint64_t number, Sequence& s);
    void tell(std::uint64_t number, Sequence& s);
    std::uint32_t strength(std::uint64_t number, const Sequence& s) const;
    std::size_t look(std::uint64_t number, Sequence& s);
    void in_vain(std::uint64_t number, Sequence& s, Why why);
    void guess(std::uint64_t number, Source& source);
    std::span<const Chance> chances_of(const Source& source, Origin origin, std::uint32_t evidence,
                                       std::size_t tokens);
    bool may_pay(const Source& source, Sequence& s);
    void weigh_cost(Sequence& s, std::size_t most, const SpeculationCosts& costs) const;
    std::span<const Chance> sure(std::size_t tokens) const {
        return std::span(sure_).first(std::min(tokens, sure_.size()));
    }
    std::optional<Offer> best_offer(Sequence& s, std::span<const TokenId> under_way,
                                    std::size_t most, const SpeculationCosts& costs,
                                    bool can_change);
    Draft make_draft(std::uint64_t number, Sequence& s, const Offer& offer,
                     std::span<const TokenId> under_way, std::size_t most);
    nanoseconds take_charges(std::uint64_t number, const Sequence& s);
    void tell_why(const Sequence& s, SpeculationReport& report) const;

    SpeculatorOptions options_;
    std::vector<Arm> arms_;
    CostCorrections corrections_;
    std::unordered_map<std::uint64_t, Sequence> sequences_;
    std::vector<Chance> chances_;
    std::vector<Chance> sure_;  ///< of tokens that are right
    Proposal extension_;
};

const Arm* Speculator::named(std::string_view name) const {
    for (const auto& arm : arms_) {
        if (arm.kind->name == name) return &arm;
    }
    return nullptr;
}

bool Speculator::knows(const std::string& choice) const {
    if (choice == "auto" || choice == "off") return true;
    const auto [name, argument] = split(choice);
    const Arm* arm = named(name);
    if (arm == nullptr) return false;
    if (name.size() == choice.size()) return true;
    return arm->kind->takes != nullptr && arm->kind->takes(argument);
}

void Speculator::begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
                       const std::string& choice) {
    auto& s = sequences_[number];
    s = {};
    const auto [name, argument] = split(choice);
    s.off = choice == "off";
    s.named = !s.off && choice != "auto";
    for (std::size_t i = 0; i < arms_.size(); ++i) {
        const auto& kind = *arms_[i].kind;
        const bool drafts = s.named ? kind.name == name : !s.off && kind.automatic;
        if (!drafts && !kind.for_tests) continue;
        s.sources.push_back({.arm = i, .drafts = drafts});
        arms_[i].drafter->begin(number, tenant, {}, drafts ? argument : std::string_view{});
    }
    if (s.sources.empty()) return;
    s.unread.assign(tokens.begin(), tokens.end());
    s.prompt = tokens.size();
    read_on(number, s);
}

/// Gives the drafters more of a long prompt. True once they have all.
bool Speculator::read_on(std::uint64_t number, Sequence& s) {
    if (s.read == s.unread.size()) return true;
    const std::size_t end = std::min(s.unread.size(), s.read + kReadPerCall);
    const std::size_t border = std::clamp(s.prompt, s.read, end);
    const auto all = std::span<const TokenId>(s.unread);
    for (const auto& source : s.sources) {
        auto& drafter = *arms_[source.arm].drafter;
        if (border > s.read) drafter.more_prompt(number, all.subspan(s.read, border - s.read));
        if (end > border) drafter.observe(number, all.subspan(border, end - border));
    }
    s.read = end;
    if (s.read < s.unread.size()) return false;
    s.unread = {};
    s.read = s.prompt = 0;
    return true;
}

void Speculator::observe(std::uint64_t number, std::span<const TokenId> tokens) {
    const auto found = sequences_.find(number);
    if (found == sequences_.end() || found->second.sources.empty()) return;
    auto& s = found->second;
    s.debt.came(tokens.size());
    s.position += tokens.size();
    if (!s.unread.empty()) {
        s.unread.insert(s.unread.end(), tokens.begin(), tokens.end());
        read_on(number, s);
        return;
    }
    for (auto& source : s.sources) {
        auto& arm = arms_[source.arm];
        auto& guess = source.guess;
        for (const TokenId token : tokens) {
            if (source.scored >= guess.tokens.size()) break;
            const bool right = guess.tokens[source.scored] == token;
            arm.calibration.observe(source.cells, guess.origin, source.evidence(), right);
            ++source.scored;
            if (!right) source.forget();
        }
        if (!arm.kind->patient) arm.drafter->observe(number, tokens);
    }
    s.untold.insert(s.untold.end(), tokens.begin(), tokens.end());
    if (s.untold.size() >= kMostUntold) tell(number, s);
}

/// Patient drafters hear of what came.
void Speculator::tell(std::uint64_t number, Sequence& s) {
    if (s.untold.empty()) return;
    for (const auto& source : s.sources) {
        auto& arm = arms_[source.arm];
        if (arm.kind->patient) arm.drafter->observe(number, s.untold);
    }
    s.untold.clear();
}

void Speculator::proposed_by_stage(std::uint64_t number, std::span<const TokenId> tokens) {
    const auto found = sequences_.find(number);
    if (found == sequences_.end()) return;
    for (const auto& source : found->second.sources)
        arms_[source.arm].drafter->proposed_by_stage(number, tokens);
}

std::uint32_t Speculator::strength(std::uint64_t number, const Sequence& s) const {
    std::uint32_t most = 0;
    for (const auto& source : s.sources) {
        const Arm& arm = arms_[source.arm];
        if (source.drafts && !arm.kind->patient)
            most = std::max(most, arm.drafter->strength(number));
    }
    return most;
}

/// Asks the drafters, once for each certain token and only when it is time. The longest guess that
/// may be worth its rows; 0: none.
std::size_t Speculator::look(std::uint64_t number, Sequence& s) {
    if (s.looked_at == s.position) return s.longest;
    s.longest = 0;
    if (!s.named && !s.attention.looks(s.position, strength(number, s))) return 0;
    s.looked_at = s.position;
    tell(number, s);
    bool any = false;
    for (auto& source : s.sources) {
        if (!source.drafts) continue;
        if (source.is_dear && ++source.too_dear % kTooDear != 0) {
            source.forget();
            continue;
        }
        // Half of what may be lost is left for rounds, unless nobody else drafts.
        arms_[source.arm].drafter->allow(
            number, s.debt.allowance() - (s.named ? nanoseconds{} : s.debt.bound() / 4));
        guess(number, source);
        if (source.rest().empty()) continue;
        any = true;
        if (s.named || may_pay(source, s)) s.longest = std::max(s.longest, source.rest().size());
    }
    if (s.longest == 0) in_vain(number, s, any ? Why::kUnsure : Why::kNoIdea);
    return s.longest;
}

void Speculator::in_vain(std::uint64_t number, Sequence& s, Why why) {
    s.why = why;
    s.longest = 0;
    if (!s.named) s.attention.in_vain(s.position, strength(number, s));
}

/// What a drafter says behind the certain tokens; scored when they come.
void Speculator::guess(std::uint64_t number, Source& source) {
    if (source.evidence() >= kSettled && source.rest().size() >= kEnoughLeft) return;
    source.forget();
    arms_[source.arm].drafter->propose(number, {}, options_.longest_draft, source.guess);
}

/// Of a guess' first tokens; good until the next call.
std::span<const Chance> Speculator::chances_of(const Source& source, Origin origin,
                                               std::uint32_t evidence, std::size_t tokens) {
    const auto& calibration = arms_[source.arm].calibration;
    chances_.resize(tokens);
    std::size_t of = Calibration::kClasses;
    Chance chance;
    for (std::size_t i = 0; i < tokens; ++i) {
        const std::size_t now = Calibration::class_of(evidence + static_cast<std::uint32_t>(i));
        if (now != of)
            chance =
                calibration.chance(source.cells, origin, evidence + static_cast<std::uint32_t>(i));
        of = now;
        chances_[i] = chance;
    }
    return chances_;
}

/// Whether by the lower bounds it would gain enough if rows cost nothing.
bool Speculator::may_pay(const Source& source, Sequence& s) {
    double mean = 1, lower = 1, expected = 1, at_least = 1;
    for (const Chance& chance :
         chances_of(source, source.guess.origin, source.evidence(), source.rest().size())) {
        expected += mean *= chance.mean;
        at_least += lower *= chance.lower;
        if (at_least >= 1 + options_.margin) return true;
    }
    s.bet = {.gain = expected, .lower = at_least};
    return false;
}

/// Which drafters take so long for a token themselves that they cannot pay.
void Speculator::weigh_cost(Sequence& s, std::size_t most, const SpeculationCosts& costs) const {
    for (auto& source : s.sources) {
        const auto cost = arms_[source.arm].drafter->cost_per_token();
        source.is_dear = !s.named && cost > nanoseconds{} &&
                         possible_gain(costs, corrections_, sure(most), cost) < 1 + options_.margin;
    }
}

/// The offer with the highest expected gain that may be taken. `can_change`: nothing is under way.
std::optional<Offer> Speculator::best_offer(Sequence& s, std::span<const TokenId> under_way,
                                            std::size_t most, const SpeculationCosts& costs,
                                            bool can_change) {
    BetLimits limits{.most = most + under_way.size(),
                     .allowance = s.debt.allowance(costs.plain),
                     .least = 1 + options_.margin,
                     .always = s.named,
                     .least_chance = options_.least_chance_ahead};
    std::optional<Offer> best;
    double best_missed = 0;
    for (std::size_t i = 0; i < s.sources.size(); ++i) {
        const auto& source = s.sources[i];
        if (!source.drafts || source.rest().empty()) continue;
        const auto chances = chances_of(source, source.guess.origin, source.evidence(),
                                        std::min(source.rest().size(), limits.most));
        limits.per_draft = arms_[source.arm].drafter->cost_per_token();
        for (const auto shape : {DraftShape::kTogether, DraftShape::kAhead}) {
            const Bet bet = shape == DraftShape::kTogether
                                ? bet_together(chances, costs, corrections_, limits)
                                : bet_ahead(chances, costs, corrections_, limits);
            if (bet.length == 0) {
                if (bet.gain > best_missed && !best) s.bet = bet;
                best_missed = std::max(best_missed, bet.gain);
                continue;
            }
            const bool keeps = !can_change && shape == DraftShape::kAhead;
            const double score = bet.gain * (keeps ? kToSwitch : 1);
            if (!best || score > best->score) best = {i, shape, bet, score};
        }
    }
    return best;
}

Draft Speculator::make_draft(std::uint64_t number, Sequence& s, const Offer& offer,
                             std::span<const TokenId> under_way, std::size_t most) {
    const auto& source = s.sources[offer.source];
    const auto tokens = source.rest();
    Draft draft{.shape = offer.shape, .tokens = {}, .job = offer.bet.job, .jobs = offer.bet.jobs};
    std::size_t room = std::min(most, offer.bet.length);
    if (offer.shape == DraftShape::kAhead) {
        // Whole jobs; the first has the certain row, too.
        const std::size_t window = offer.bet.job * window_of(offer.bet.jobs) - 1;
        const std::size_t least = offer.bet.job - (under_way.empty() ? 1 : 0);
        if (under_way.size() + least > window) return draft;
        room = std::min(most, window - under_way.size());
    }
    const bool same = under_way.size() <= tokens.size() &&
                      std::equal(under_way.begin(), under_way.end(), tokens.begin());
    if (same) {
        const auto from = tokens.begin() + static_cast<std::ptrdiff_t>(under_way.size());
        const auto count = std::min(room, tokens.size() - under_way.size());
        draft.tokens.assign(from, from + static_cast<std::ptrdiff_t>(count));
        if (count > 0) return draft;
    }
    extension_.clear();
    arms_[source.arm].drafter->propose(number, under_way, room, extension_);
    const auto chances = chances_of(source, extension_.origin, extension_.evidence,
                                    extension_.tokens.empty() ? 0 : 1);
    const bool likely =
        s.named || (!chances.empty() && chances.front().lower >= options_.least_chance_ahead);
    if (likely) draft.tokens = extension_.tokens;
    return draft;
}

std::size_t Speculator::considers(std::uint64_t number, std::size_t most) {
    const auto found = sequences_.find(number);
    if (found == sequences_.end() || found->second.off || found->second.sources.empty()) return 0;
    auto& s = found->second;
    if (!read_on(number, s)) {
        s.why = Why::kReading;
        return 0;
    }
    const std::size_t longest = look(number, s);
    if (longest > 0 && !s.debt.open()) {
        in_vain(number, s, Why::kDebt);
        return 0;
    }
    return std::min({longest, most, options_.longest_draft});
}

Draft Speculator::propose(std::uint64_t number, std::span<const TokenId> under_way,
                          std::size_t most, const SpeculationCosts& costs) {
    const auto found = sequences_.find(number);
    if (found == sequences_.end() || most == 0 || considers(number, most) == 0) return {};
    auto& s = found->second;
    most = std::min(most, options_.longest_draft);
    // A round together is not extended once it is under way.
    if (!under_way.empty() && s.shape == DraftShape::kTogether) return {};
    weigh_cost(s, most, costs);
    const auto offer = best_offer(s, under_way, most, costs, under_way.empty());
    if (!offer) {
        const bool could = possible_gain(costs, corrections_, sure(most)) >= 1 + options_.margin;
        in_vain(number, s, could ? Why::kUnsure : Why::kCosts);
        return {};
    }
    s.attention.hit();
    // Better together, but jobs ahead are under way: they come home first.
    if (!under_way.empty() && offer->shape == DraftShape::kTogether)
        return {.shape = DraftShape::kAhead, .tokens = {}};
    // Jobs that follow one another are of one size.
    if (!under_way.empty() && offer->bet.job != s.job)
        return {.shape = DraftShape::kAhead, .tokens = {}};
    s.shape = offer->shape;
    s.arm = s.sources[offer->source].arm;
    s.bet = offer->bet;
    s.job = offer->bet.job;
    s.why = Why::kPays;
    Draft draft = make_draft(number, s, *offer, under_way, most);
    s.times.foretell(draft, costs);
    return draft;
}

void Speculator::verdict(std::uint64_t number, const RoundVerdict& round) {
    const auto found = sequences_.find(number);
    if (found == sequences_.end() || found->second.off) return;
    auto& s = found->second;
    const bool together = round.shape == DraftShape::kTogether;
    // What a plain round takes longer behind cancelled jobs was lost by drafting.
    const bool counts = round.drafted > 0 || !together || s.times.hindered();
    s.times.correct(round, corrections_);
    // What one token really takes, by the rounds without drafts.
    const auto plain = nanoseconds(static_cast<nanoseconds::rep>(
        static_cast<double>(round.plain.count()) * corrections_.together.of(0)));
    s.debt.round(round.took, plain, together ? 1 + round.accepted : round.tokens, counts,
                 take_charges(number, s));
    if (round.drafted == 0) return;
    auto& report = s.report;
    ++report.rounds;
    report.verify += round.took;
    if (round.took > plain)
        report.rollback += (round.took - plain) * (round.drafted - round.accepted) / round.drafted;
    report.drafted += round.drafted;
    report.accepted += round.accepted;
    const auto count = [&](std::vector<std::uint64_t>& at, std::size_t rows) {
        rows = std::min(rows, options_.longest_draft);
        if (at.size() < rows) at.resize(rows);
        for (std::size_t i = 0; i < rows; ++i)
            ++at[i];
    };
    count(report.drafted_at, round.drafted);
    count(report.accepted_at, round.accepted);
}

/// What drafters took elsewhere since the last time, as if all of it had held the stream up.
nanoseconds Speculator::take_charges(std::uint64_t number, const Sequence& s) {
    nanoseconds sum{};
    for (const auto& source : s.sources)
        sum += arms_[source.arm].drafter->take_charge(number);
    return sum;
}

void Speculator::tell_why(const Sequence& s, SpeculationReport& report) const {
    report.arm = report.drafter = "off";
    report.reason = name_of(s.why);
    const auto ms = [](nanoseconds time) { return static_cast<double>(time.count()) / 1e6; };
    switch (s.why) {
        case Why::kNone:
            report.why = s.off ? "asked for" : "it never came to a choice";
            break;
        case Why::kReading:
            report.why = "the prompt was still being read";
            break;
        case Why::kNoIdea:
            report.why = "no drafter had an idea";
            for (const auto& source : s.sources) {
                const auto absence = arms_[source.arm].drafter->absence();
                if (source.drafts && !absence.empty())
                    report.why += fmt::format("; {}: {}", arms_[source.arm].kind->name, absence);
            }
            break;
        case Why::kCosts:
            report.why = "rows cost as much as they could bring";
            break;
        case Why::kUnsure:
            report.why = fmt::format("not sure enough: {:.2f} times as fast, perhaps {:.2f}",
                                     s.bet.gain, s.bet.lower);
            break;
        case Why::kDebt:
            report.why = fmt::format("lost {:.1f} ms of {:.1f} that it may", ms(s.debt.debt()),
                                     ms(s.debt.bound()));
            break;
        case Why::kPays:
            report.drafter = arms_[s.arm].kind->name;
            report.arm = s.shape == DraftShape::kAhead
                             ? ahead_name(arms_[s.arm].kind->name, s.job)
                             : fmt::format("{} {}", arms_[s.arm].kind->name, s.bet.length);
            report.why = fmt::format("{:.2f} times as fast by estimate, at least {:.2f}",
                                     s.bet.gain, s.bet.lower);
            break;
    }
}

SpeculationReport Speculator::end(std::uint64_t number) {
    const auto found = sequences_.find(number);
    if (found == sequences_.end()) return {};
    auto& s = found->second;
    tell(number, s);
    SpeculationReport report = std::move(s.report);
    report.debt = s.debt.total() + take_charges(number, s);
    for (const auto& source : s.sources) {
        report.draft += arms_[source.arm].drafter->spent(number);
        arms_[source.arm].drafter->end(number);
    }
    tell_why(s, report);
    sequences_.erase(found);
    return report;
}

}  // namespace

std::unique_ptr<Speculation> make_speculator(const SpeculatorOptions& options) {
    return std::make_unique<Speculator>(options);
}

}  // namespace potluck::coordinator
