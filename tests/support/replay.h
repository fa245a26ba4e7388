#pragma once

// A known answer given to a Speculation round by round, with costs by a formula: what the scheduler
// does with rows together, in virtual time.

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

struct ReplayCosts {
    nanoseconds plain = std::chrono::milliseconds(10);
    double per_row = 0.05;  ///< of plain, for each drafted row
    std::size_t longest = 64;
    std::size_t users = 1;
};

struct Replayed {
    std::size_t rounds = 0, tokens = 0, drafted = 0;
    nanoseconds took{}, plain{};  ///< with drafts and without
    nanoseconds worst{};          ///< the most that it was behind plain at any moment
    nanoseconds longest{};        ///< round
    SpeculationReport report;
    double per_round() const {
        return static_cast<double>(tokens) / static_cast<double>(std::max<std::size_t>(rounds, 1));
    }
    double speedup() const {
        return static_cast<double>(plain.count()) / static_cast<double>(took.count());
    }
};

inline Replayed replay(Speculation& speculation, std::uint64_t number, TenantId tenant,
                       std::span<const TokenId> prompt, std::span<const TokenId> answer,
                       const std::string& choice, const ReplayCosts& costs = {}) {
    std::vector<nanoseconds> together;
    for (std::size_t k = 0; k <= costs.longest; ++k) {
        together.push_back(
            nanoseconds(static_cast<std::int64_t>(static_cast<double>(costs.plain.count()) *
                                                  (1 + costs.per_row * static_cast<double>(k)))));
    }
    const SpeculationCosts now{.plain = costs.plain,
                               .slowest = costs.plain,
                               .together = together,
                               .window = 1,
                               .users = costs.users};
    Replayed r;
    speculation.begin(number, tenant, prompt, choice);
    // The first token comes with the prompt.
    std::size_t done = std::min<std::size_t>(1, answer.size());
    speculation.observe(number, answer.first(done));
    while (done < answer.size()) {
        const auto draft = speculation.propose(number, {}, costs.longest, now);
        std::size_t accepted = 0;
        while (accepted < draft.tokens.size() && done + accepted < answer.size() &&
               draft.tokens[accepted] == answer[done + accepted]) {
            ++accepted;
        }
        const std::size_t came = std::min(accepted + 1, answer.size() - done);
        const auto took = together[draft.tokens.size()];
        speculation.observe(number, answer.subspan(done, came));
        speculation.verdict(number, {.drafted = static_cast<std::uint32_t>(draft.tokens.size()),
                                     .accepted = static_cast<std::uint32_t>(accepted),
                                     .shape = draft.shape,
                                     .took = took,
                                     .plain = costs.plain});
        done += came;
        r.drafted += draft.tokens.size();
        ++r.rounds;
        r.tokens += came;
        r.took += took;
        r.plain += static_cast<std::int64_t>(came) * costs.plain;
        r.worst = std::max(r.worst, r.took - r.plain);
        r.longest = std::max(r.longest, took);
    }
    r.report = speculation.end(number);
    return r;
}

}  // namespace potluck::coordinator
