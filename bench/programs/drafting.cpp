// What drafting costs the coordinator's loop: thread CPU time per token of drafters, scoring and
// controller together, without a model. The text decides what there is to do:
//   fresh    tokens drawn from a large vocabulary: nothing repeats, nothing is drafted
//   words    as 1 / rank of 32,000, as words are: short matches everywhere, none of use
//   dear     a copy of the prompt, where a row costs as much as a step: found, scored, not drafted
//   copy     a copy of the prompt, with cheap rows: drafted

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_time.h"
#include "coordinator/speculate/speculator.h"

namespace {

using namespace potluck;
using namespace potluck::coordinator;
using std::chrono::nanoseconds;

constexpr std::size_t kPrompt = 500;
constexpr std::size_t kAnswer = 4000;
constexpr std::size_t kMost = 64;

struct Text {
    std::vector<TokenId> prompt, answer;
};

Text make_text(const std::string& kind, std::uint64_t seed) {
    Text text;
    const auto any = [&](std::uint64_t i) {
        const double draw = uniform(seed, i);
        if (kind != "words") return static_cast<TokenId>(draw * 150000);
        return static_cast<TokenId>(std::exp(draw * std::log(32000.0)));
    };
    for (std::uint64_t i = 0; i < kPrompt; ++i)
        text.prompt.push_back(any(i));
    for (std::uint64_t i = 0; i < kAnswer; ++i) {
        const bool copies = kind == "dear" || kind == "copy";
        text.answer.push_back(copies ? text.prompt[i % kPrompt] : any(kPrompt + i));
    }
    return text;
}

struct Spent {
    nanoseconds all{};
    std::size_t tokens = 0, drafted = 0, rounds = 0;
};

/// One request as the scheduler would run it: rounds together.
Spent run(Speculation& speculation, std::uint64_t number, const Text& text, double per_row) {
    const nanoseconds plain = std::chrono::milliseconds(20);
    std::vector<nanoseconds> together;
    for (std::size_t k = 0; k <= kMost; ++k)
        together.push_back(plain + std::chrono::duration_cast<nanoseconds>(
                                       plain * (per_row * static_cast<double>(k))));
    const SpeculationCosts costs{.plain = plain, .slowest = plain, .together = together};
    Spent spent;
    speculation.begin(number, TenantId{}, text.prompt, "auto");
    const auto answer = std::span<const TokenId>(text.answer);
    const auto start = thread_cpu_time();
    for (std::size_t done = 0; done < answer.size();) {
        Draft draft;
        if (speculation.considers(number, kMost) > 0)
            draft = speculation.propose(number, {}, kMost, costs);
        std::size_t right = 0;
        while (right < draft.tokens.size() && done + right < answer.size() &&
               draft.tokens[right] == answer[done + right])
            ++right;
        const std::size_t came = std::min(right + 1, answer.size() - done);
        for (std::size_t i = 0; i < came; ++i)
            speculation.observe(number, answer.subspan(done + i, 1));
        speculation.verdict(number, {.drafted = static_cast<std::uint32_t>(draft.tokens.size()),
                                     .accepted = static_cast<std::uint32_t>(right),
                                     .took = together[draft.tokens.size()],
                                     .plain = plain});
        spent.drafted += draft.tokens.size();
        ++spent.rounds;
        done += came;
    }
    spent.all = thread_cpu_time() - start;
    spent.tokens = answer.size();
    speculation.end(number);
    return spent;
}

}  // namespace

int main(int argc, char** argv) {
    const int requests = argc > 1 ? std::atoi(argv[1]) : 5;
    fmt::print("{:<8}{:>10}{:>12}{:>12}{:>16}{:>14}\n", "text", "request", "us/token", "us/round",
               "drafted/token", "% of 20 ms");
    for (const std::string kind : {"fresh", "words", "dear", "copy"}) {
        if (argc > 2 && kind != argv[2]) continue;
        const auto speculation = make_speculator({});
        for (int i = 0; i < requests; ++i) {
            const auto number = static_cast<std::uint64_t>(i) + 1;
            const Text text = make_text(kind, number);
            const Spent spent = run(*speculation, number, text, kind == "dear" ? 1.0 : 0.05);
            const auto rounds = static_cast<double>(spent.rounds);
            const auto tokens = static_cast<double>(spent.tokens);
            const double us = static_cast<double>(spent.all.count()) / 1e3;
            fmt::print("{:<8}{:>10}{:>12.2f}{:>12.2f}{:>16.3f}{:>14.4f}\n", kind, i + 1,
                       us / tokens, us / rounds, static_cast<double>(spent.drafted) / tokens,
                       us / rounds / 20000 * 100);
        }
    }
    return 0;
}
