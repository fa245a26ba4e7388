// The tenant's pool of n-grams, each with the token that followed it last (token_pool.h).

#include <algorithm>
#include <unordered_map>

#include "coordinator/speculate/drafter.h"
#include "coordinator/speculate/tenant_pools.h"
#include "coordinator/speculate/token_pool.h"

namespace potluck::coordinator::drafters {
namespace {

class NgramMod final : public Drafter {
  public:
    explicit NgramMod(const DrafterOptions& options)
        : options_(options.ngram_mod), pools_(options.most_tenants) {
        options_.n = std::max<std::size_t>(options_.n, 1);
    }

    void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
               std::string_view /*argument*/) override {
        auto pool = pools_.of(tenant, [] { return std::make_shared<TokenPool>(); });
        sequences_.insert_or_assign(number, Sequence{std::move(pool), Window(options_.n)});
        more_prompt(number, tokens);
    }
    void more_prompt(std::uint64_t number, std::span<const TokenId> tokens) override {
        observe(number, tokens);
    }
    /// Each token is learnt at once, as the successor of those before it. The window is the
    /// sequence's watermark: what it has passed is in the pool.
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        for (const TokenId token : tokens) {
            if (s.window.full()) {
                const auto known = s.pool->get(s.window.hash());
                s.right = known == token ? s.right + 1 : 0;
                s.pool->put(s.window.hash(), token);
            }
            s.window.add(token);
        }
    }
    void propose(std::uint64_t number, std::span<const TokenId> behind, std::size_t most,
                 Proposal& into) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        const auto& s = found->second;
        scratch_ = s.window;
        for (const TokenId token : behind)
            scratch_.add(token);
        most = std::min(most, options_.draft_max);
        while (scratch_.full() && into.tokens.size() < most) {
            const auto next = s.pool->get(scratch_.hash());
            if (!next) break;
            into.tokens.push_back(*next);
            scratch_.add(*next);
        }
        // The least length is one of the pool's knowledge: a request for less is cut later.
        if (into.tokens.size() < std::min(options_.draft_min, most)) into.tokens.clear();
        into.evidence = s.right + static_cast<std::uint32_t>(behind.size());
    }
    void end(std::uint64_t number) override { sequences_.erase(number); }

  private:
    /// The last n tokens in a ring, and their hash.
    class Window {
      public:
        explicit Window(std::size_t n) : hash_(n), ring_(n, 0) {}
        bool full() const { return size_ == ring_.size(); }
        std::uint64_t hash() const { return hash_.mixed(); }
        void add(TokenId token) {
            if (full()) {
                hash_.roll(ring_[next_], token);
            } else {
                hash_.add(token);
                ++size_;
            }
            ring_[next_] = token;
            next_ = next_ + 1 == ring_.size() ? 0 : next_ + 1;
        }

      private:
        RollingHash hash_;
        std::vector<TokenId> ring_;
        std::size_t size_ = 0, next_ = 0;
    };
    struct Sequence {
        std::shared_ptr<TokenPool> pool;
        Window window;
        std::uint32_t right = 0;  ///< tokens in a row that the pool knew
    };

    NgramModOptions options_;
    TenantPools<TokenPool> pools_;
    std::unordered_map<std::uint64_t, Sequence> sequences_;
    Window scratch_{1};
};

/// A whole n-gram of 24 is much evidence already, a hit before it more.
double prior_of(Origin /*origin*/, std::uint32_t evidence) {
    return 1 - 0.4 / (1 + std::min(evidence, 30U));
}

}  // namespace

const DrafterKind& ngram_mod() {
    static constexpr DrafterKind kind{
        .name = "ngram_mod",
        .what = "a hashed pool of n-grams and what followed them, per tenant",
        .patient = true,
        .prior = prior_of,
        .make = [](const DrafterOptions& options) -> std::unique_ptr<Drafter> {
            return std::make_unique<NgramMod>(options);
        },
    };
    return kind;
}

}  // namespace potluck::coordinator::drafters
