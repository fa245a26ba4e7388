// What a drafter on the last stage sends along with the newest token (a StepResult's proposed
// tokens): good for the position that it was made for, and no longer than the answer agrees with
// it.

#include <algorithm>
#include <unordered_map>

#include "coordinator/speculate/drafter.h"

namespace potluck::coordinator::drafters {
namespace {

constexpr std::size_t kMostTokens = 64;

class Stage final : public Drafter {
  public:
    void begin(std::uint64_t number, TenantId /*tenant*/, std::span<const TokenId> /*tokens*/,
               std::string_view /*argument*/) override {
        sequences_[number] = {};
    }
    void more_prompt(std::uint64_t /*number*/, std::span<const TokenId> /*tokens*/) override {}
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        for (const TokenId token : tokens) {
            if (s.proposed.empty()) {
                s.right = 0;
            } else if (s.proposed.front() == token) {
                ++s.right;
                s.proposed.erase(s.proposed.begin());
            } else {
                s.right = 0;
                s.proposed.clear();
            }
        }
    }
    void propose(std::uint64_t number, std::span<const TokenId> behind, std::size_t most,
                 Proposal& into) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        const auto& proposed = found->second.proposed;
        if (behind.size() >= proposed.size() ||
            !std::equal(behind.begin(), behind.end(), proposed.begin())) {
            return;
        }
        const auto from = proposed.begin() + static_cast<std::ptrdiff_t>(behind.size());
        const auto count = std::min<std::size_t>(most, proposed.size() - behind.size());
        into.tokens.assign(from, from + static_cast<std::ptrdiff_t>(count));
        into.evidence = found->second.right + static_cast<std::uint32_t>(behind.size());
    }
    void proposed_by_stage(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        tokens = tokens.first(std::min(tokens.size(), kMostTokens));
        found->second.proposed.assign(tokens.begin(), tokens.end());
    }
    std::uint32_t strength(std::uint64_t number) const override {
        const auto found = sequences_.find(number);
        return found == sequences_.end() ? 0 : found->second.right;
    }
    void end(std::uint64_t number) override { sequences_.erase(number); }

  private:
    struct Sequence {
        std::vector<TokenId> proposed;
        std::uint32_t right = 0;
    };
    std::unordered_map<std::uint64_t, Sequence> sequences_;
};

}  // namespace

const DrafterKind& stage() {
    static constexpr DrafterKind kind{
        .name = "stage",
        .what = "what a drafter on the last stage proposes",
        .prior = [](Origin, std::uint32_t evidence) { return 1 - 0.5 / (1 + evidence); },
        .make = [](const DrafterOptions&) -> std::unique_ptr<Drafter> {
            return std::make_unique<Stage>();
        },
    };
    return kind;
}

}  // namespace potluck::coordinator::drafters
