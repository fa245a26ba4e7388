// A drafter with a set acceptance, for tests and benchmarks: it remembers what the tenant's earlier
// sequences with the same prompt became, whatever they asked of speculation, and says that again,
// each token wrong with a set probability by a counter-based generator (seed, position). The choice
// may set it: "forced:0.7", or "forced:adversarial": right for 64 tokens, then always wrong.

#include <algorithm>
#include <charconv>
#include <deque>
#include <unordered_map>

#include "base/rng.h"
#include "coordinator/speculate/drafter.h"

namespace potluck::coordinator::drafters {
namespace {

constexpr std::size_t kMostTexts = 64;
constexpr std::size_t kHonest = 64;  ///< tokens for which the adversarial one is right

bool parse(std::string_view argument, double& acceptance) {
    const char* end = argument.data() + argument.size();
    const auto [stopped, failed] = std::from_chars(argument.data(), end, acceptance);
    return failed == std::errc{} && stopped == end && acceptance >= 0 && acceptance <= 1;
}

bool takes(std::string_view argument) {
    double acceptance = 0;
    return argument == "adversarial" || parse(argument, acceptance);
}

class Forced final : public Drafter {
  public:
    explicit Forced(const DrafterOptions& options) : options_(options.forced) {}

    void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
               std::string_view argument) override {
        auto& s = sequences_[number];
        s = {.tenant = tenant, .acceptance = options_.acceptance};
        s.text.assign(tokens.begin(), tokens.end());
        s.prompt = s.text.size();
        s.adversarial = argument == "adversarial";
        if (!s.adversarial && !argument.empty()) parse(argument, s.acceptance);
    }
    void more_prompt(std::uint64_t number, std::span<const TokenId> tokens) override {
        observe(number, tokens);
        auto& s = sequences_.at(number);
        s.prompt = s.text.size();
    }
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        found->second.text.insert(found->second.text.end(), tokens.begin(), tokens.end());
    }
    void propose(std::uint64_t number, std::span<const TokenId> behind, std::size_t most,
                 Proposal& into) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        if (!s.looked) look_up(s);
        // The texts may differ further on; what is wrong anyway need not be right.
        for (std::size_t p = s.text.size() + behind.size();
             p < s.known.size() && into.tokens.size() < most; ++p) {
            const bool wrong =
                s.adversarial ? p >= s.prompt + kHonest : uniform(options_.seed, p) >= s.acceptance;
            into.tokens.push_back(wrong ? (s.known[p] == 0 ? 1 : s.known[p] - 1) : s.known[p]);
        }
        into.evidence = 1;
    }
    void end(std::uint64_t number) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        if (s.text.size() > s.prompt) {
            if (texts_.size() >= kMostTexts) texts_.pop_front();
            texts_.push_back({s.tenant, s.prompt, std::move(s.text)});
        }
        sequences_.erase(found);
    }

  private:
    struct Text {
        TenantId tenant;
        std::size_t prompt = 0;
        std::vector<TokenId> tokens;
    };
    struct Sequence {
        TenantId tenant;
        double acceptance = 1;
        bool adversarial = false;
        bool looked = false;
        std::size_t prompt = 0;
        std::vector<TokenId> text;
        std::vector<TokenId> known;  ///< prompt and answer of an earlier one
    };

    void look_up(Sequence& s) {
        s.looked = true;
        for (auto text = texts_.rbegin(); text != texts_.rend(); ++text) {
            if (text->tenant == s.tenant && text->prompt == s.prompt &&
                std::equal(s.text.begin(), s.text.begin() + static_cast<std::ptrdiff_t>(s.prompt),
                           text->tokens.begin())) {
                s.known = text->tokens;
                return;
            }
        }
    }

    ForcedOptions options_;
    std::deque<Text> texts_;
    std::unordered_map<std::uint64_t, Sequence> sequences_;
};

}  // namespace

const DrafterKind& forced() {
    static constexpr DrafterKind kind{
        .name = "forced",
        .what = "repeats an earlier answer to the same prompt, wrong as often as it is told",
        .automatic = false,
        .for_tests = true,
        .prior = [](Origin, std::uint32_t) { return 0.5; },
        .takes = takes,
        .make = [](const DrafterOptions& options) -> std::unique_ptr<Drafter> {
            return std::make_unique<Forced>(options);
        },
    };
    return kind;
}

}  // namespace potluck::coordinator::drafters
