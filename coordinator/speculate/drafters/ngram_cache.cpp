// Lookup decoding: counts of what followed the last 1 to 4 tokens, in this sequence first and by
// lax thresholds, then in the tenant's earlier answers by strict ones, then what a body of text
// says of the last two, if there is such a table.

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "coordinator/speculate/drafter.h"
#include "coordinator/speculate/ngram_table.h"
#include "coordinator/speculate/static_table.h"
#include "coordinator/speculate/tenant_pools.h"

namespace potluck::coordinator::drafters {
namespace {

constexpr std::size_t kLongest = 4;
constexpr std::uint32_t kStatic = 2;  ///< tokens that the static table looks at
constexpr std::size_t kContextNgrams = std::size_t{1} << 16;  ///< 2 MiB a sequence at most
constexpr std::size_t kDynamicNgrams = std::size_t{1} << 18;  ///< 8 MiB a tenant at most

/// A draft is at most so many times as long as what speaks for it, and a few tokens.
constexpr std::size_t kPerEvidence = 4;

/// Tokens of a block for which it is found out whether they were foreseen.
constexpr std::size_t kStreak = 8;

/// By n - 1: how often an n-gram must have been seen, and the least share of its best successor.
struct Thresholds {
    std::array<std::uint32_t, kLongest> samples;
    std::array<double, kLongest> share;
};
constexpr Thresholds kLax{{2, 2, 1, 1}, {0.66, 0.5, 0.5, 0.5}};
constexpr Thresholds kStrict{{4, 3, 2, 2}, {0.75, 0.66, 0.66, 0.66}};

/// The last four tokens, and the keys of the n-grams that end with the newest.
struct Context {
    std::array<TokenId, kLongest> tokens{};  ///< the newest first
    std::array<std::uint64_t, kLongest> keys{};
    std::size_t size = 0;

    void add(TokenId token) {
        std::copy_backward(tokens.begin(), tokens.end() - 1, tokens.end());
        tokens[0] = token;
        size = std::min(size + 1, kLongest);
        std::uint64_t key = kEmptyNgram;
        for (std::size_t i = 0; i < size; ++i)
            keys[i] = key = longer_ngram(key, tokens[i]);
    }
    std::uint64_t key(std::size_t n) const { return keys[n - 1]; }
};

struct Guess {
    TokenId token = 0;
    std::uint32_t n = 0;
    Origin origin = Origin::kSequence;
};

std::optional<Guess> look_up(const NgramTable& table, const Context& context,
                             const Thresholds& thresholds) {
    for (std::size_t n = context.size; n > 0; --n) {
        const auto best = table.best(context.key(n));
        if (best && best->total >= thresholds.samples[n - 1] &&
            best->count >= thresholds.share[n - 1] * best->total) {
            return Guess{best->token, static_cast<std::uint32_t>(n)};
        }
    }
    return std::nullopt;
}

class NgramCache final : public Drafter {
  public:
    explicit NgramCache(const DrafterOptions& options)
        : pools_(options.most_tenants), static_(options.static_table) {}

    void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
               std::string_view /*argument*/) override {
        auto pool = pools_.of(tenant, [] { return std::make_shared<NgramTable>(kDynamicNgrams); });
        sequences_.insert_or_assign(number, Sequence{.dynamic = std::move(pool)});
        more_prompt(number, tokens);
    }
    void more_prompt(std::uint64_t number, std::span<const TokenId> tokens) override {
        auto& s = sequences_.at(number);
        for (const TokenId token : tokens)
            learn(s, token, false);
        s.guess = next(s, s.context);
    }
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        // Of many tokens only the last few can say how often it was right of late.
        const std::size_t old = tokens.size() - std::min(tokens.size(), kStreak);
        if (old > 0) {
            for (const TokenId token : tokens.first(old))
                learn(s, token, true);
            s.right = 0;
            s.guess = next(s, s.context);
        }
        for (const TokenId token : tokens.subspan(old)) {
            s.right = s.guess && s.guess->token == token ? s.right + 1 : 0;
            learn(s, token, true);
            s.guess = next(s, s.context);
        }
    }
    void propose(std::uint64_t number, std::span<const TokenId> behind, std::size_t most,
                 Proposal& into) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        const auto& s = found->second;
        Context context = s.context;
        for (const TokenId token : behind)
            context.add(token);
        while (into.tokens.size() < most) {
            const auto guess = next(s, context);
            if (!guess) return;
            if (into.tokens.empty()) {
                into.evidence = std::max(guess->n, s.right);
                into.origin = guess->origin;
                most = std::min(most, kPerEvidence * (std::size_t{into.evidence} + 1));
            }
            into.tokens.push_back(guess->token);
            context.add(guess->token);
        }
    }
    void end(std::uint64_t number) override { sequences_.erase(number); }

  private:
    struct Sequence {
        std::shared_ptr<NgramTable> dynamic;
        NgramTable own{kContextNgrams};
        Context context;
        std::optional<Guess> guess;  ///< behind the certain tokens
        std::uint32_t right = 0;     ///< guesses in a row
    };

    std::optional<Guess> next(const Sequence& s, const Context& context) const {
        auto guess = look_up(s.own, context, kLax);
        if (guess) return guess;
        guess = look_up(*s.dynamic, context, kStrict);
        if (guess) {
            guess->origin = Origin::kPool;
            return guess;
        }
        if (!static_ || context.size < kStatic) return std::nullopt;
        const auto best = static_->best(context.tokens[1], context.tokens[0]);
        if (!best) return std::nullopt;
        return Guess{best->token, kStatic, Origin::kStatic};
    }
    /// Prompts are the sequence's own; answers are the tenant's, too.
    static void learn(Sequence& s, TokenId token, bool answer) {
        for (std::size_t n = 1; n <= s.context.size; ++n) {
            const auto key = s.context.key(n);
            s.own.add(key, token);
            if (answer) s.dynamic->add(key, token);
        }
        s.context.add(token);
    }

    TenantPools<NgramTable> pools_;
    std::shared_ptr<const StaticTable> static_;
    std::unordered_map<std::uint64_t, Sequence> sequences_;
};

}  // namespace

const DrafterKind& ngram_cache() {
    static constexpr DrafterKind kind{
        .name = "ngram_cache",
        .what = "what followed the last 1 to 4 tokens most often",
        .patient = true,
        .prior = [](Origin, std::uint32_t evidence) { return 1 - 0.7 / std::max(1U, evidence); },
        .make = [](const DrafterOptions& options) -> std::unique_ptr<Drafter> {
            return std::make_unique<NgramCache>(options);
        },
    };
    return kind;
}

}  // namespace potluck::coordinator::drafters
