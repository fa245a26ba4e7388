// What the controller leaves lying: the drafters' real proposals on answers that a real model gave,
// with the best choice of drafter and length at every round, made in hindsight.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "coordinator/speculate/drafter.h"
#include "coordinator/speculate/speculator.h"
#include "recorded.h"
#include "tests/support/replay.h"

namespace potluck::coordinator {
namespace {

using golden::RecordedAnswer;

std::vector<TokenId> ids_of(const RecordedAnswer& answer) {
    std::vector<TokenId> ids;
    for (const auto& step : answer.steps)
        ids.push_back(step.id);
    return ids;
}

/// Behind each certain token of the answer, from the first on: how many tokens of the best of the
/// drafters' proposals would have been right.
std::vector<std::size_t> right_guesses(const RecordedAnswer& recorded,
                                       const std::vector<std::string_view>& names,
                                       std::size_t longest) {
    const auto answer = ids_of(recorded);
    std::vector<std::size_t> right(answer.size());
    for (const auto* kind : drafters::drafter_kinds()) {
        if (std::ranges::find(names, kind->name) == names.end()) continue;
        const auto drafter = kind->make({});
        drafter->begin(1, TenantId{}, {}, {});
        drafter->more_prompt(1, recorded.prompt_tokens);
        for (std::size_t i = 0; i < answer.size(); ++i) {
            drafter->observe(1, std::span(answer).subspan(i, 1));
            Proposal guess;
            drafter->propose(1, {}, longest, guess);
            const auto from = answer.begin() + static_cast<std::ptrdiff_t>(i) + 1;
            const auto wrong =
                std::mismatch(guess.tokens.begin(), guess.tokens.end(), from, answer.end());
            right[i] = std::max(right[i], static_cast<std::size_t>(wrong.second - from));
        }
        drafter->end(1);
    }
    return right;
}

/// The least time, in plain rounds, for all tokens behind the first one: a wrong row is never sent,
/// and a round is as long as is best for all that follows.
double best_time(const std::vector<std::size_t>& right, double per_row) {
    std::vector<double> from(right.size(), 0.0);
    for (std::size_t i = right.size() - 1; i-- > 0;) {
        from[i] = 1 + from[i + 1];
        for (std::size_t k = 1; k <= right[i]; ++k)
            from[i] = std::min(from[i], 1 + per_row * static_cast<double>(k) +
                                            from[std::min(i + 1 + k, right.size() - 1)]);
    }
    return from.empty() ? 0 : from.front();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

TEST(RecordedAnswers, BestChoicesInHindsight) {
    if (golden::shared_data().empty()) GTEST_SKIP() << "../shared/golden is not there";
    const auto edits =
        golden::read_answers(golden::shared_data() / "golden/greedy-tiny-coder-q8_0-edit.json");
    ASSERT_TRUE(edits);
    const std::vector<std::string_view> all = {"suffix", "ngram_mod", "ngram_cache"};
    for (const double per_row : {0.02, 0.05, 0.08, 0.12}) {
        std::vector<double> of_suffix, of_all, of_auto, share;
        for (const auto& recorded : *edits) {
            const auto answer = ids_of(recorded);
            if (answer.size() < 2) continue;
            const auto plain = static_cast<double>(answer.size() - 1);
            of_suffix.push_back(plain /
                                best_time(right_guesses(recorded, {"suffix"}, 64), per_row));
            of_all.push_back(plain / best_time(right_guesses(recorded, all, 64), per_row));
            const auto speculator = make_speculator({});
            const auto told = replay(*speculator, 1, TenantId{}, recorded.prompt_tokens, answer,
                                     "auto", {.per_row = per_row});
            of_auto.push_back(told.speedup());
            share.push_back(of_auto.back() / of_all.back());
            // Whoever knows the answer is never slower.
            EXPECT_GE(of_all.back(), of_auto.back() * 0.999);
            EXPECT_GE(of_all.back(), of_suffix.back());
        }
        std::printf(
            "row %.2f: best of suffix %.2f, best of all %.2f, auto %.2f, its share of the best "
            "%.2f\n",
            per_row, median(of_suffix), median(of_all), median(of_auto), median(share));
        EXPECT_GE(median(share), 0.6);
    }
}

}  // namespace
}  // namespace potluck::coordinator
