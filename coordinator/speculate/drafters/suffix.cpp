// The longest end of the sequence that stood in it before, and what followed there; with a cursor
// that goes on over changed words, and behind both a pool of what the tenant's answers said.

#include <algorithm>
#include <unordered_map>

#include "coordinator/speculate/copy_cursor.h"
#include "coordinator/speculate/drafter.h"
#include "coordinator/speculate/past_outputs.h"
#include "coordinator/speculate/suffix_automaton.h"
#include "coordinator/speculate/tenant_pools.h"

namespace potluck::coordinator::drafters {
namespace {

/// A draft is at most so many times as long as what speaks for it, and a few tokens.
constexpr std::size_t kPerEvidence = 4;
constexpr std::size_t kPromptKept = 64;  ///< of a prompt's end, before an answer in the pool

class Suffix final : public Drafter {
  public:
    explicit Suffix(const DrafterOptions& options) : pools_(options.most_tenants) {}

    void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
               std::string_view /*argument*/) override {
        auto& sequence = sequences_[number];
        sequence = {};
        sequence.pool = pools_.of(tenant, [] { return std::make_shared<PastOutputs>(); });
        more_prompt(number, tokens);
    }
    void more_prompt(std::uint64_t number, std::span<const TokenId> tokens) override {
        observe(number, tokens);
        auto& sequence = sequences_.at(number);
        sequence.prompt = sequence.own.text().size();
    }
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        auto& s = found->second;
        for (const TokenId token : tokens) {
            if (s.own.full()) return;
            s.own.append(token);
            s.cursor.observe(s.own.text(), s.own.match());
            s.pool->step(s.place, token);
        }
    }

    void propose(std::uint64_t number, std::span<const TokenId> behind, std::size_t most,
                 Proposal& into) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end() || found->second.own.full()) return;
        const auto& s = found->second;
        if (behind.empty()) {
            certain(s, most, into);
        } else {
            read_on(s, behind, most, into);
        }
    }

    std::uint32_t strength(std::uint64_t number) const override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end() || found->second.own.full()) return 0;
        const auto& s = found->second;
        return std::max(evidence_of(s), s.pool->length(s.place));
    }

    void end(std::uint64_t number) override {
        const auto found = sequences_.find(number);
        if (found == sequences_.end()) return;
        const auto& s = found->second;
        const auto text = s.own.text();
        if (text.size() > s.prompt)
            s.pool->add(text.subspan(s.prompt - std::min(s.prompt, kPromptKept)));
        sequences_.erase(found);
    }

  private:
    struct Sequence {
        SuffixAutomaton own;
        CopyCursor cursor;
        std::shared_ptr<PastOutputs> pool;
        PastOutputs::Place place;
        std::size_t prompt = 0;
    };

    /// Of the sequence itself.
    static std::uint32_t evidence_of(const Sequence& s) {
        return s.cursor.follows() ? s.cursor.evidence() : s.own.match().length;
    }
    static std::size_t longest(std::uint32_t evidence, std::size_t most) {
        return std::min(most, kPerEvidence * (std::size_t{evidence} + 1));
    }

    /// Behind the certain tokens: the cursor, else the match, unless the pool knows more.
    static void certain(const Sequence& s, std::size_t most, Proposal& into) {
        const auto match = s.own.match();
        const std::uint32_t own = evidence_of(s);
        if (s.pool->length(s.place) > own) {
            into.evidence = s.pool->length(s.place);
            into.origin = Origin::kPool;
            s.pool->draft(s.place, longest(into.evidence, most), into.tokens);
            if (!into.tokens.empty()) return;
        }
        into.evidence = own;
        most = longest(own, most);
        into.origin =
            s.cursor.follows() && s.cursor.recovered() ? Origin::kRecovered : Origin::kSequence;
        if (s.cursor.follows()) {
            s.cursor.draft(s.own.text(), most, into.tokens);
        } else if (match.length > 0) {
            copy(s.own.text(), match.next, {}, most, into.tokens);
        }
    }

    /// Behind tokens that somebody drafted.
    static void read_on(const Sequence& s, std::span<const TokenId> behind, std::size_t most,
                        Proposal& into) {
        auto walk = s.own.here();
        for (const TokenId token : behind)
            s.own.step(walk, token);
        if (walk.length == 0) return;
        into.evidence = walk.length;
        copy(s.own.text(), s.own.at(walk).next, behind, longest(walk.length, most), into.tokens);
    }

    /// What stands from `next` on, over the end of the text into `behind` and what is drafted.
    static void copy(std::span<const TokenId> text, std::size_t next,
                     std::span<const TokenId> behind, std::size_t most, std::vector<TokenId>& out) {
        for (; out.size() < most; ++next) {
            if (next < text.size()) {
                out.push_back(text[next]);
            } else if (next - text.size() < behind.size()) {
                out.push_back(behind[next - text.size()]);
            } else if (next - text.size() - behind.size() < out.size()) {
                out.push_back(out[next - text.size() - behind.size()]);
            } else {
                return;
            }
        }
    }

    TenantPools<PastOutputs> pools_;
    std::unordered_map<std::uint64_t, Sequence> sequences_;
};

/// Short matches happen by chance; one of 8 tokens hardly does.
double prior_of(Origin /*origin*/, std::uint32_t evidence) {
    return 1 - 0.65 / std::max(1U, evidence);
}

}  // namespace

const DrafterKind& suffix() {
    static constexpr DrafterKind kind{
        .name = "suffix",
        .what = "what followed the longest end of the text that stood before",
        .prior = prior_of,
        .make = [](const DrafterOptions& options) -> std::unique_ptr<Drafter> {
            return std::make_unique<Suffix>(options);
        },
    };
    return kind;
}

}  // namespace potluck::coordinator::drafters
