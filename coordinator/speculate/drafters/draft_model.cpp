// A small model that runs beside the loop (draft_port.h) and says greedily what comes next. It is
// never waited for: what it has drafted by the time that a guess is wanted is the guess, and while
// a round is verified it goes on behind its own draft, so that a draft that turns out right is
// followed by the next one at once.
//
// Where the model's computing may hold the stream up, it is asked for no more than the sequence may
// still lose: a long text is fed in pieces, as fast as the account allows.

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "coordinator/speculate/draft_port.h"
#include "coordinator/speculate/drafter.h"

namespace potluck::coordinator::drafters {
namespace {

/// How far the model drafts: a few tokens, one more for each that was right in a row.
constexpr std::size_t kFirstDraft = 4, kLongestDraft = 16;
constexpr std::int64_t kCostWeight = 16;  ///< a new step's weight in the cost of a token
constexpr std::size_t kLeastPiece = 16;   ///< tokens of a text that are fed before all can be

class DraftModel final : public Drafter {
  public:
    explicit DraftModel(std::shared_ptr<DraftPort> port) : port_(std::move(port)) {}

    void begin(std::uint64_t number, TenantId /*tenant*/, std::span<const TokenId> tokens,
               std::string_view /*argument*/) override {
        sequences_[number] = {};
        more_prompt(number, tokens);
    }
    void more_prompt(std::uint64_t number, std::span<const TokenId> tokens) override {
        auto& text = sequences_.at(number).text;
        text.insert(text.end(), tokens.begin(), tokens.end());
    }
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        for (const TokenId token : tokens) {
            s.text.push_back(token);
            if (s.chain.empty()) continue;  // it may be under way: a late reply tells
            if (s.chain.front() == token) {
                s.chain.erase(s.chain.begin());
                ++s.right;
            } else {
                s.break_chain();
            }
        }
    }
    void propose(std::uint64_t number, std::span<const TokenId> behind, std::size_t most,
                 Proposal& into) override {
        collect();
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        ask(number, s);
        if (behind.size() >= s.chain.size() ||
            !std::equal(behind.begin(), behind.end(), s.chain.begin())) {
            return;
        }
        const auto from = s.chain.begin() + static_cast<std::ptrdiff_t>(behind.size());
        const auto count = std::min(most, s.chain.size() - behind.size());
        into.tokens.assign(from, from + static_cast<std::ptrdiff_t>(count));
        into.evidence = s.right + static_cast<std::uint32_t>(behind.size());
    }
    void end(std::uint64_t number) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        if (found->second.posted > 0) ended_.push_back(number);
        sequences_.erase(found);
        collect();
    }
    nanoseconds cost_per_token() const override {
        return port_->shares_processors() ? cost_.value_or(nanoseconds{}) : nanoseconds{};
    }
    nanoseconds spent(std::uint64_t number) const override {
        const auto found = sequences_.find(number);
        return found == sequences_.end() ? nanoseconds{} : found->second.spent;
    }
    nanoseconds take_charge(std::uint64_t number) override {
        collect();
        const auto found = sequences_.find(number);
        return found == sequences_.end() ? nanoseconds{} : std::exchange(found->second.owed, {});
    }
    void allow(std::uint64_t number, nanoseconds more) override {
        const auto found = sequences_.find(number);
        if (found != sequences_.end()) found->second.allowed = more;
    }
    std::string absence() const override { return port_->absence(); }

  private:
    struct Sequence {
        std::vector<TokenId> text;   ///< certain
        std::size_t posted = 0;      ///< tokens of it that the model's side was told
        std::size_t wanted = 0;      ///< and how many drafted ones
        std::size_t reached = 0;     ///< where the last reply was, and one more
        std::vector<TokenId> chain;  ///< drafted behind the text
        std::uint32_t generation = 0;
        bool broken = false;  ///< this generation: what comes of it is void
        std::uint32_t right = 0;
        nanoseconds spent{};
        nanoseconds owed{};  ///< of it, what may have held the stream up and nobody asked for
        nanoseconds allowed = nanoseconds::max();  ///< that it may cost beyond what was asked for

        void break_chain() {
            broken = true;
            reached = std::min(reached, text.size());
            chain.clear();
            right = 0;
        }
    };

    /// Tells the model's side what is new. What finds no room there goes with the next request.
    void ask(std::uint64_t number, Sequence& s) {
        const auto [end, most] = affordable(s);
        while (s.posted < end || most > s.wanted) {
            const auto request =
                DraftRequest::of(number, std::span(s.text).subspan(s.posted, end - s.posted), most);
            if (!port_->post(request)) return;
            s.posted += request.count;
            s.wanted = request.most;
        }
    }
    struct Portion {
        std::size_t end = 0;  ///< of the text, what the model's side may be told by now
        std::size_t most = 0;
    };
    /// Everything, unless it may hold the stream up: then what is still allowed pays for, but for a
    /// first piece, which shows what it costs. Behind a piece of a text that goes on one token is
    /// drafted, to no use but to hear that it is fed.
    Portion affordable(const Sequence& s) const {
        const Portion all{s.text.size(), std::min(kFirstDraft + s.right, kLongestDraft)};
        if (!port_->shares_processors() || s.allowed == nanoseconds::max()) return all;
        const Portion nothing{s.posted, 0};
        const auto left = static_cast<std::int64_t>(s.text.size() - s.posted);
        if (!row_cost_ && !cost_) {
            if (s.posted > 0 || s.allowed <= nanoseconds{}) return nothing;
            return {std::min(s.text.size(), kLeastPiece), 1};
        }
        const nanoseconds row = row_cost_ ? *row_cost_ : *cost_;
        nanoseconds room = s.allowed - s.owed - under_way(s);
        if (room <= nanoseconds{}) return nothing;
        if (left * row > room) {
            const auto rows = static_cast<std::size_t>(room / row);
            return rows < kLeastPiece ? nothing : Portion{s.posted + rows, 1};
        }
        room -= left * row;
        if (!cost_) return {all.end, 1};
        if (*cost_ == nanoseconds{}) return all;
        // Those that are drafted already, or under way, are paid for.
        const std::size_t asked = std::max(s.posted + s.wanted, s.text.size() + s.chain.size());
        const std::size_t ahead = s.broken ? 0 : asked - std::min(asked, s.text.size());
        return {all.end, std::min(all.most, ahead + static_cast<std::size_t>(room / *cost_))};
    }
    /// What the model's side was asked for and has not answered.
    nanoseconds under_way(const Sequence& s) const {
        const std::size_t end = s.posted + s.wanted;
        const auto rows = static_cast<std::int64_t>(s.posted - std::min(s.posted, s.reached));
        const auto drafts =
            static_cast<std::int64_t>(end - std::min(end, std::max(s.posted, s.reached)));
        return rows * row_cost_.value_or(cost_.value_or(nanoseconds{})) +
               drafts * cost_.value_or(nanoseconds{});
    }
    void collect() {
        while (!ended_.empty() && port_->post({.number = ended_.back(), .ends = true}))
            ended_.pop_back();
        while (const auto reply = port_->poll()) {
            const auto found = sequences_.find(reply->number);
            if (found != sequences_.end()) take(found->second, *reply);
        }
    }
    static void learn(std::optional<nanoseconds>& cost, nanoseconds took) {
        cost = cost ? *cost + (took - *cost) / kCostWeight : took;
    }
    void take(Sequence& s, const DraftReply& reply) {
        s.spent += reply.took;
        if (port_->shares_processors()) s.owed += reply.took;
        s.reached = reply.position + 1;
        // Steps that feed a text say nothing of what a drafted token costs.
        if (reply.rows == 1) {
            learn(cost_, reply.took);
        } else if (reply.rows > 1) {
            learn(row_cost_, reply.took / reply.rows);
        }
        if (reply.generation != s.generation) {
            s.generation = reply.generation;
            s.broken = false;
            s.chain.clear();
        }
        if (s.broken) return;
        const std::size_t next = s.text.size() + s.chain.size();
        if (reply.position < s.text.size()) {
            if (s.text[reply.position] != reply.token) s.break_chain();
        } else if (reply.position == next) {
            s.chain.push_back(reply.token);
        } else {
            s.break_chain();
        }
    }

    std::shared_ptr<DraftPort> port_;
    std::unordered_map<std::uint64_t, Sequence> sequences_;
    std::vector<std::uint64_t> ended_;     ///< that the model's side was not yet told
    std::optional<nanoseconds> cost_;      ///< of a drafted token; empty: not known
    std::optional<nanoseconds> row_cost_;  ///< of a token that is fed among others
};

}  // namespace

const DrafterKind& draft_model() {
    static constexpr DrafterKind kind{
        .name = "draft_model",
        .what = "a small model with the same vocabulary (--draft-model)",
        .prior = [](Origin, std::uint32_t evidence) { return 1 - 0.5 / (1 + evidence); },
        .make = [](const DrafterOptions& options) -> std::unique_ptr<Drafter> {
            if (!options.draft_model) return nullptr;
            return std::make_unique<DraftModel>(options.draft_model);
        },
    };
    return kind;
}

}  // namespace potluck::coordinator::drafters
