// A small model that runs beside the loop (draft_port.h) and says greedily what comes next. It is
// never waited for: what it has drafted by the time that a guess is wanted is the guess, and while
// a round is verified it goes on behind its own draft, so that a draft that turns out right is
// followed by the next one at once.

#include <algorithm>
#include <unordered_map>

#include "coordinator/speculate/draft_port.h"
#include "coordinator/speculate/drafter.h"

namespace potluck::coordinator::drafters {
namespace {

/// How far the model drafts: a few tokens, one more for each that was right in a row.
constexpr std::size_t kFirstDraft = 4, kLongestDraft = 16;
constexpr std::int64_t kCostWeight = 16;  ///< a new step's weight in the cost of a token

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
    nanoseconds cost_per_token() const override { return cost_; }
    nanoseconds spent(std::uint64_t number) const override {
        const auto found = sequences_.find(number);
        return found == sequences_.end() ? nanoseconds{} : found->second.spent;
    }

  private:
    struct Sequence {
        std::vector<TokenId> text;   ///< certain
        std::size_t posted = 0;      ///< tokens of it that the model's side was told
        std::size_t wanted = 0;      ///< and how many drafted ones
        std::vector<TokenId> chain;  ///< drafted behind the text
        std::uint32_t generation = 0;
        bool broken = false;  ///< this generation: what comes of it is void
        std::uint32_t right = 0;
        nanoseconds spent{};

        void break_chain() {
            broken = true;
            chain.clear();
            right = 0;
        }
    };

    /// Tells the model's side what is new. What finds no room there goes with the next request.
    void ask(std::uint64_t number, Sequence& s) {
        const std::size_t most = std::min(kFirstDraft + s.right, kLongestDraft);
        while (s.posted < s.text.size() || most > s.wanted) {
            const auto request =
                DraftRequest::of(number, std::span(s.text).subspan(s.posted), most);
            if (!port_->post(request)) return;
            s.posted += request.count;
            s.wanted = request.most;
        }
    }
    void collect() {
        while (!ended_.empty() && port_->post({.number = ended_.back(), .ends = true}))
            ended_.pop_back();
        while (const auto reply = port_->poll()) {
            const auto found = sequences_.find(reply->number);
            if (found != sequences_.end()) take(found->second, *reply);
        }
    }
    void take(Sequence& s, const DraftReply& reply) {
        s.spent += reply.took;
        // Steps that feed a text say nothing of what a drafted token costs.
        if (reply.rows == 1) {
            cost_ =
                cost_ == nanoseconds{} ? reply.took : cost_ + (reply.took - cost_) / kCostWeight;
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
    std::vector<std::uint64_t> ended_;  ///< that the model's side was not yet told
    nanoseconds cost_{};
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
