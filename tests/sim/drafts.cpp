#include "tests/sim/drafts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tests/sim/oracle.h"

namespace potluck::sim {

std::unique_ptr<coordinator::Speculation> oracle_drafts(const Scenario& scenario,
                                                        std::shared_ptr<FakeDraftLog> log) {
    if (!scenario.drafts) return nullptr;
    auto truth = [&scenario](const std::string& choice, std::uint32_t nth) {
        const RequestId id(std::stoull(choice.substr(choice.find(' '))));
        const auto asked = std::find_if(scenario.requests.begin(), scenario.requests.end(),
                                        [&](const auto& r) { return r.id == id; });
        std::vector<TokenId> tokens;
        const auto answer = expected_answer(scenario, asked->request).at(nth);
        for (const auto& report : answer.tokens)
            tokens.push_back(report.token);
        if (answer.ended_by_token) tokens.push_back(answer.last);
        return tokens;
    };
    return std::make_unique<FakeSpeculation>(*scenario.drafts, std::move(truth), std::move(log));
}

void take_drafts(const FakeDraftLog& log, Outcome& outcome) {
    outcome.drafts = log;
    for (const auto& wrong : log.problems)
        outcome.problem("drafts: " + wrong);
    if (log.begun != log.ended) outcome.problem("not every drafter's sequence has ended");
}

}  // namespace potluck::sim
