#include "tests/sim/fault_scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <utility>

namespace potluck::sim {
namespace {

using namespace std::chrono_literals;

/// What a kind of fault is said with.
struct KindWords {
    std::string_view word;
    FaultKind kind;
    bool link = false;             ///< between two machines
    std::string_view amount = {};  ///< the word before its number
    bool coordinator = false;      ///< may befall it
    bool needs_for = false;
    bool lasts = true;  ///< takes "for" and "stays"
};
constexpr KindWords kKinds[] = {
    {.word = "crash", .kind = FaultKind::kCrash, .lasts = false},
    {.word = "restart", .kind = FaultKind::kCrash, .coordinator = true, .needs_for = true},
    {.word = "power-off", .kind = FaultKind::kPowerOff},
    {.word = "hang", .kind = FaultKind::kHang, .coordinator = true},
    {.word = "slow", .kind = FaultKind::kSlow, .amount = "times"},
    {.word = "no-memory", .kind = FaultKind::kNoMemory},
    {.word = "fail", .kind = FaultKind::kFail, .lasts = false},
    {.word = "drop", .kind = FaultKind::kDrop, .link = true, .amount = "one-in"},
    {.word = "late", .kind = FaultKind::kLate, .link = true, .amount = "one-in"},
    {.word = "duplicate", .kind = FaultKind::kDuplicate, .link = true, .amount = "one-in"},
    {.word = "reorder", .kind = FaultKind::kReorder, .link = true, .amount = "one-in"},
    {.word = "corrupt", .kind = FaultKind::kCorrupt, .link = true, .amount = "one-in"},
    {.word = "garble", .kind = FaultKind::kGarble, .link = true, .amount = "one-in"},
    {.word = "cut", .kind = FaultKind::kCut, .link = true},
    {.word = "clog", .kind = FaultKind::kClog, .link = true, .amount = "bytes-per-second"},
    {.word = "clock", .kind = FaultKind::kClock, .coordinator = true, .lasts = false},
    {.word = "join", .kind = FaultKind::kJoin, .lasts = false},
};

constexpr std::pair<Seen, std::string_view> kSeenWords[] = {
    {Seen::kPipelines, "pipelines"},
    {Seen::kLosses, "losses"},
    {Seen::kRecomputed, "recomputed"},
    {Seen::kRefilled, "refilled"},
    {Seen::kKept, "kept"},
    {Seen::kRejected, "rejected"},
    {Seen::kTampered, "tampered"},
    {Seen::kRefused, "refused"},
    {Seen::kFailedLoads, "failed-loads"},
    {Seen::kCutOff, "cut-off"},
    {Seen::kSlowBatches, "slow-batches"},
    {Seen::kLateJoins, "late-joins"},
    {Seen::kOlderFrames, "older-frames"},
    {Seen::kNewerFrames, "newer-frames"},
};
static_assert(std::size(kSeenWords) == kSeenCount);

tl::unexpected<Error> wrong(std::string message) {
    return error(ErrorCode::kInvalidArgument, std::move(message));
}

Result<std::uint64_t> number(std::string_view text, std::uint64_t least, std::uint64_t most) {
    std::uint64_t value = 0;
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (status != std::errc() || end != text.data() + text.size() || value < least || value > most)
        return wrong(fmt::format("'{}' is no whole number from {} to {}", text, least, most));
    return value;
}

Result<nanoseconds> duration(std::string_view text) {
    static constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {
        {"us", 1'000}, {"ms", 1'000'000}, {"s", 1'000'000'000}};
    for (const auto& [unit, factor] : kUnits) {
        if (!text.ends_with(unit)) continue;
        auto count = number(text.substr(0, text.size() - unit.size()), 0, 1'000'000);
        if (count) return nanoseconds(static_cast<std::int64_t>(*count) * factor);
    }
    return wrong(fmt::format("'{}' is no duration: a whole number and us, ms or s", text));
}

Result<Span> span(std::string_view text) {
    const auto dots = text.find("..");
    if (dots == std::string_view::npos) {
        POTLUCK_ASSIGN(const auto only, duration(text));
        return Span{only, only};
    }
    Span both;
    POTLUCK_ASSIGN(both.min, duration(text.substr(0, dots)));
    POTLUCK_ASSIGN(both.max, duration(text.substr(dots + 2)));
    if (both.min > both.max) return wrong(fmt::format("'{}': the later time comes first", text));
    return both;
}

/// "3" or "2..4".
Result<std::pair<std::uint64_t, std::uint64_t>> numbers(std::string_view text, std::uint64_t least,
                                                        std::uint64_t most) {
    const auto dots = text.find("..");
    std::pair<std::uint64_t, std::uint64_t> both;
    POTLUCK_ASSIGN(both.first, number(text.substr(0, dots), least, most));
    both.second = both.first;
    if (dots != std::string_view::npos) {
        POTLUCK_ASSIGN(both.second, number(text.substr(dots + 2), least, most));
    }
    if (both.first > both.second)
        return wrong(fmt::format("'{}': the larger number comes first", text));
    return both;
}

Result<Seen> seen(std::string_view text) {
    for (const auto& [what, word] : kSeenWords)
        if (word == text) return what;
    return wrong(fmt::format("'{}' is nothing that is counted", text));
}

/// The words of one line, taken one after another.
class Words {
  public:
    explicit Words(const std::string& line) : in_(line.substr(0, line.find('#'))) {}
    /// Empty at the end of the line.
    std::string next() {
        std::string word;
        in_ >> word;
        return word;
    }
    Result<std::string> need(std::string_view what) {
        auto word = next();
        if (word.empty()) return wrong(fmt::format("{} is missing", what));
        return word;
    }

  private:
    std::istringstream in_;
};

class Parser {
  public:
    Status line(const std::string& text) {
        Words words(text);
        const std::string word = words.next();
        if (word.empty()) return {};
        POTLUCK_ASSIGN(const bool taken, setting(word, words));
        if (!taken) POTLUCK_TRY(fault(word, words));
        if (const auto more = words.next(); !more.empty())
            return wrong(fmt::format("'{}' is too much", more));
        return {};
    }

    /// What only the whole text can tell.
    Status finish() const {
        const bool live = s_.mode == Mode::kLiveness;
        if (has_heal_ != live || (s_.within > 0ns) != live)
            return wrong("'heal' and 'within' belong to mode liveness, which needs both");
        if ((s_.lasts > 0ns) == live)
            return wrong("'lasts' belongs to mode safety, which needs it");
        if (s_.holders > s_.least_nodes) return wrong("'holders' are more than nodes");
        for (const auto& f : s_.faults) {
            if (f.stays && s_.mode == Mode::kSafety)
                return wrong("'stays' belongs to mode liveness; in mode safety nothing heals");
        }
        return {};
    }

    FaultScenario take() { return std::move(s_); }

  private:
    Result<bool> setting(const std::string& word, Words& words) {
        if (word == "mode") {
            POTLUCK_ASSIGN(const auto mode, words.need("a mode"));
            if (mode != "safety" && mode != "liveness")
                return wrong(fmt::format("'{}' is no mode: safety or liveness", mode));
            s_.mode = mode == "safety" ? Mode::kSafety : Mode::kLiveness;
        } else if (word == "nodes") {
            if (!s_.faults.empty() || !s_.speaks.empty())
                return wrong("'nodes' comes before what befalls them");
            POTLUCK_ASSIGN(const auto text, words.need("a number of nodes"));
            POTLUCK_ASSIGN(const auto both, numbers(text, 1, 8));
            s_.least_nodes = both.first;
            s_.most_nodes = both.second;
        } else if (word == "holders") {
            POTLUCK_ASSIGN(const auto text, words.need("a number of nodes or 'all'"));
            s_.holders = 0;
            if (text != "all") {
                POTLUCK_ASSIGN(s_.holders, number(text, 1, 8));
            }
        } else if (word == "heal") {
            has_heal_ = true;
            POTLUCK_TRY(take_duration(words, s_.heal));
        } else if (word == "within") {
            POTLUCK_TRY(take_duration(words, s_.within));
        } else if (word == "lasts") {
            POTLUCK_TRY(take_duration(words, s_.lasts));
        } else if (word == "patience") {
            POTLUCK_TRY(take_duration(words, s_.patience));
        } else if (word == "spread") {
            nanoseconds spread{};
            POTLUCK_TRY(take_duration(words, spread));
            s_.spread = spread;
        } else if (word == "may-lose") {
            s_.may_lose = true;
        } else if (word == "expect" || word == "never") {
            auto& list = word == "expect" ? s_.expect : s_.never;
            POTLUCK_ASSIGN(auto what, words.need("what is counted"));
            for (; !what.empty(); what = words.next()) {
                POTLUCK_ASSIGN(const Seen one, seen(what));
                list.push_back(one);
            }
        } else if (word == "newer") {
            s_.newer = true;
        } else if (word == "speaks") {
            POTLUCK_TRY(take_versions(words));
        } else {
            return false;
        }
        return true;
    }

    static Status take_duration(Words& words, nanoseconds& to) {
        POTLUCK_ASSIGN(const auto text, words.need("a duration"));
        POTLUCK_ASSIGN(to, duration(text));
        return {};
    }

    Status take_versions(Words& words) {
        POTLUCK_ASSIGN(const auto name, words.need("a node"));
        POTLUCK_ASSIGN(const Who who, machine(name, false));
        if (who.index == Who::kAny) return wrong("'speaks' needs one node by its name");
        POTLUCK_ASSIGN(const auto text, words.need("versions"));
        POTLUCK_ASSIGN(const auto both,
                       numbers(text, 0, std::numeric_limits<std::uint16_t>::max()));
        s_.speaks.push_back({who.index, static_cast<std::uint32_t>(both.first),
                             static_cast<std::uint32_t>(both.second)});
        return {};
    }

    Result<Who> machine(const std::string& text, bool coordinator) const {
        if (text == "any") return Who{Who::kAny};
        if (text == "coordinator" && coordinator) return Who{Who::kCoordinator};
        if (text == "coordinator") return wrong("this does not befall the coordinator");
        if (!text.starts_with("node"))
            return wrong(fmt::format("'{}' is no machine: node0 …, any or coordinator", text));
        POTLUCK_ASSIGN(const auto index, number(std::string_view(text).substr(4), 0, 7));
        if (index >= s_.least_nodes) {
            return wrong(fmt::format("there is no {}: there may be {} nodes, from node0", text,
                                     s_.least_nodes));
        }
        return Who{index};
    }

    Status fault(const std::string& word, Words& words) {
        const auto* const kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                              [&](const auto& k) { return k.word == word; });
        if (kind == std::end(kKinds)) {
            std::string known;
            for (const auto& k : kKinds)
                known += fmt::format(" {}", k.word);
            return wrong(fmt::format("'{}' is no setting and no fault; faults are{}", word, known));
        }
        FaultLine f{.kind = kind->kind};
        POTLUCK_ASSIGN(const auto name, words.need("a machine"));
        POTLUCK_ASSIGN(f.who, machine(name, kind->coordinator || kind->link));
        if (kind->kind == FaultKind::kClock && f.who.index != Who::kCoordinator)
            return wrong("only the coordinator's core is told the time");
        if (kind->kind == FaultKind::kJoin && f.who.index == Who::kAny)
            return wrong("'join' needs one node by its name");
        if (kind->link) {
            POTLUCK_ASSIGN(const auto arrow, words.need("'>' or '<>'"));
            if (arrow != ">" && arrow != "<>")
                return wrong(fmt::format("'{}' stands where '>' or '<>' belongs", arrow));
            f.both_ways = arrow == "<>";
            POTLUCK_ASSIGN(const auto other, words.need("the other machine"));
            POTLUCK_ASSIGN(f.other, machine(other, true));
            if (f.who.index == f.other.index && f.who.index != Who::kAny)
                return wrong("a link has two different ends");
            if (f.who.index == Who::kAny && f.other.index == Who::kAny && s_.least_nodes < 2)
                return wrong("a link between two nodes needs two");
        }
        POTLUCK_TRY(options(*kind, words, f));
        s_.faults.push_back(f);
        return {};
    }

    static Status options(const KindWords& kind, Words& words, FaultLine& f) {
        bool at = false;
        bool amount = kind.amount.empty();
        bool by = kind.kind != FaultKind::kClock;
        for (auto word = words.next(); !word.empty(); word = words.next()) {
            if (word == "stays" && kind.lasts) {
                f.stays = true;
                continue;
            }
            POTLUCK_ASSIGN(const auto value, words.need(fmt::format("what '{}' is", word)));
            if (word == "at") {
                POTLUCK_ASSIGN(f.at, span(value));
                at = true;
            } else if (word == "for" && kind.lasts) {
                POTLUCK_ASSIGN(f.length, span(value));
            } else if (word == "every" && kind.kind != FaultKind::kJoin) {
                POTLUCK_ASSIGN(f.every, span(value));
                if (f.every->min < 1ms) return wrong("'every' is at least 1ms");
            } else if (word == kind.amount) {
                POTLUCK_ASSIGN(f.amount, number(value, 1, 1'000'000'000));
                amount = true;
            } else if (word == "by" && kind.kind == FaultKind::kClock) {
                POTLUCK_ASSIGN(f.by, duration(value));
                by = true;
            } else {
                return wrong(fmt::format("'{}' does not go with '{}'", word, kind.word));
            }
        }
        if (!at) return wrong("'at' is missing");
        if (!amount) return wrong(fmt::format("'{}' is missing", kind.amount));
        if (!by) return wrong("'by' is missing");
        if (kind.needs_for && !f.length) return wrong("'for' is missing");
        if (f.length && f.stays) return wrong("'for' and 'stays' contradict one another");
        return {};
    }

    FaultScenario s_;
    bool has_heal_ = false;
};

}  // namespace

std::string_view to_string(Seen what) {
    for (const auto& [known, word] : kSeenWords)
        if (known == what) return word;
    return "?";
}

Result<FaultScenario> parse_fault_scenario(std::string_view text, const std::string& file) {
    Parser parser;
    std::istringstream in{std::string(text)};
    std::string line;
    for (std::size_t n = 1; std::getline(in, line); ++n) {
        if (auto taken = parser.line(line); !taken)
            return with_context(std::move(taken.error()), fmt::format("{}:{}", file, n));
    }
    if (auto whole = parser.finish(); !whole) return with_context(std::move(whole.error()), file);
    FaultScenario scenario = parser.take();
    scenario.name = std::filesystem::path(file).stem().string();
    return scenario;
}

Result<std::vector<FaultScenario>> load_fault_scenarios() {
    const std::filesystem::path folder = POTLUCK_SOURCE_DIR "/tests/sim/scenarios";
    std::vector<FaultScenario> all;
    std::error_code failed;
    for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
        if (entry.path().extension() != ".scenario") continue;
        std::ifstream in(entry.path());
        const std::string text{std::istreambuf_iterator<char>(in), {}};
        POTLUCK_ASSIGN(auto scenario, parse_fault_scenario(text, entry.path().filename().string()));
        all.push_back(std::move(scenario));
    }
    if (failed) return error(ErrorCode::kNotFound, folder.string() + ": " + failed.message());
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return all;
}

}  // namespace potluck::sim
