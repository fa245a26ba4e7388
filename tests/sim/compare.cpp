// What every client was told, and that against the oracle.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tests/sim/cluster.h"
#include "tests/sim/living_cluster.h"
#include "tests/sim/oracle.h"

namespace potluck::sim {
namespace {

using coordinator::TokenReport;

bool same(const TokenReport& a, const TokenReport& b) {
    return a.token == b.token && a.logprob == b.logprob && a.top == b.top;
}

/// The log of a request that may still be spoken of.
ClientLog* open_log(Outcome& outcome, RequestId id, const char* what) {
    const auto found = outcome.clients.find(id);
    if (found == outcome.clients.end() || found->second.endings > 0 || found->second.hung_up) {
        outcome.problem(fmt::format("request {}: {} after its end", id.value, what));
        return nullptr;
    }
    return &found->second;
}

/// What a run may leave undone.
struct Leniency {
    bool unfinished = false;  ///< requests may still be open
    bool may_lose = false;    ///< they may end with kPeerLost
};

/// Empty if all is well. `whole`: it must be all of it, else it may be a beginning.
std::string compare_choice(bool whole, const ClientChoice& told, const ExpectedChoice& expected) {
    if (told.tokens.size() > expected.tokens.size() ||
        !std::equal(told.tokens.begin(), told.tokens.end(), expected.tokens.begin(), same) ||
        !expected.text.starts_with(told.text)) {
        return fmt::format("other tokens ({} told, {} expected)", told.tokens.size(),
                           expected.tokens.size());
    }
    if (!whole) return {};
    if (!told.finished) return "never ended";
    if (*told.finished != expected.reason) return "ended for another reason";
    if (told.tokens.size() != expected.tokens.size() || told.text != expected.text) {
        return fmt::format("{} of {} tokens, {} of {} bytes", told.tokens.size(),
                           expected.tokens.size(), told.text.size(), expected.text.size());
    }
    return {};
}

bool declared(const Error& e, const Leniency& leniency) {
    return e.code == ErrorCode::kInvalidArgument || e.code == ErrorCode::kResourceExhausted ||
           (e.code == ErrorCode::kPeerLost && leniency.may_lose);
}

std::string compare_request(const Scenario& scenario, const ScenarioRequest& r,
                            const ClientLog& log, const Leniency& leniency) {
    const bool open = leniency.unfinished && log.endings == 0;
    if (log.endings != (log.hung_up ? 0 : 1) && !open)
        return fmt::format("ended {} times", log.endings);
    if (log.error && !declared(*log.error, leniency)) return log.error->message;
    if (log.choices.empty()) return {};  // nothing was told
    const bool whole = log.endings == 1 && !log.error;
    const auto expected = expected_answer(scenario, r.request);
    std::size_t counted = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        const std::string wrong = compare_choice(whole, log.choices[i], expected[i]);
        if (!wrong.empty()) return fmt::format("choice {}: {}", i, wrong);
        counted += expected[i].tokens.size() + (expected[i].ended_by_token ? 1 : 0);
    }
    if (!whole) return {};
    if (log.usage.prompt_tokens != r.request.prompt.size() ||
        log.usage.completion_tokens != counted) {
        return fmt::format("usage says {} + {}, it was {} + {}", log.usage.prompt_tokens,
                           log.usage.completion_tokens, r.request.prompt.size(), counted);
    }
    if (log.usage.cached_tokens >= r.request.prompt.size())
        return fmt::format("all {} tokens came from the cache", log.usage.cached_tokens);
    return {};
}

void compare(const Scenario& scenario, const Leniency& leniency, Outcome& outcome) {
    for (const auto& r : scenario.requests) {
        const std::string wrong = compare_request(scenario, r, outcome.clients[r.id], leniency);
        if (wrong.empty()) continue;
        outcome.problems.push_back(fmt::format("request {}: {}", r.id.value, wrong));
    }
}

}  // namespace

void Outcome::problem(std::string text) {
    if (problems.size() < 20) problems.push_back(std::move(text));
}

void tell_client(Outcome& outcome, const coordinator::SchedulerAction& action) {
    if (const auto* delta = std::get_if<coordinator::EmitDelta>(&action)) {
        if (ClientLog* log = open_log(outcome, delta->request, "text")) {
            auto& choice = log->choices.at(delta->delta.choice);
            if (choice.finished) outcome.problem("text of a choice after its end");
            choice.text += delta->delta.text;
            choice.tokens.insert(choice.tokens.end(), delta->delta.tokens.begin(),
                                 delta->delta.tokens.end());
        }
    } else if (const auto* finish = std::get_if<coordinator::EmitFinish>(&action)) {
        if (ClientLog* log = open_log(outcome, finish->request, "a finish")) {
            auto& choice = log->choices.at(finish->choice);
            if (choice.finished) outcome.problem("a choice ended twice");
            choice.finished = finish->reason;
        }
    } else if (const auto* done = std::get_if<coordinator::EmitDone>(&action)) {
        if (ClientLog* log = open_log(outcome, done->request, "an end")) {
            ++log->endings;
            log->usage = done->usage;
        }
    } else if (const auto* failed = std::get_if<coordinator::EmitError>(&action)) {
        if (ClientLog* log = open_log(outcome, failed->request, "an error")) {
            ++log->endings;
            log->error = failed->error;
        }
    }
}

Outcome run_and_compare(const Scenario& scenario, Sabotage sabotage) {
    Outcome outcome = Cluster(scenario, sabotage).run();
    compare(scenario, {}, outcome);
    return outcome;
}

Outcome live_and_compare(const LivingScenario& scenario, Neglect neglect) {
    Outcome outcome = LivingCluster(scenario, neglect).run();
    const Leniency leniency{.unfinished = scenario.mode == Mode::kSafety,
                            .may_lose = scenario.may_lose};
    if (outcome.problems.empty()) compare(scenario.base, leniency, outcome);
    return outcome;
}

}  // namespace potluck::sim
