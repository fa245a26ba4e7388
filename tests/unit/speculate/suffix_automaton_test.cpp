#include "coordinator/speculate/suffix_automaton.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/random_text.h"

namespace potluck::coordinator {
namespace {

/// The longest end of `read` that stands in `text`.
std::size_t longest_end(std::span<const TokenId> text, std::span<const TokenId> read) {
    for (std::size_t length = std::min(text.size(), read.size()); length > 0; --length) {
        const auto end = read.last(length);
        if (std::search(text.begin(), text.end(), end.begin(), end.end()) != text.end())
            return length;
    }
    return 0;
}

bool stands_at(std::span<const TokenId> text, std::span<const TokenId> read,
               SuffixAutomaton::Match match) {
    return match.next >= match.length && match.next <= text.size() &&
           std::ranges::equal(text.subspan(match.next - match.length, match.length),
                              read.last(match.length));
}

TEST(SuffixAutomaton, FindsWhatASearchFinds) {
    for (std::uint64_t seed = 0; seed < 60; ++seed) {
        const auto text = random_text(seed, 90, static_cast<TokenId>(1 + seed % 5));
        SuffixAutomaton automaton;
        for (std::size_t i = 0; i < text.size(); ++i) {
            automaton.append(text[i]);
            const auto read = std::span(text).first(i + 1);
            // Earlier: the occurrence must end before the text does.
            const auto match = automaton.match();
            ASSERT_EQ(match.length, longest_end(read.first(i), read)) << seed << " at " << i;
            if (match.length > 0) {
                ASSERT_LT(match.next, read.size());
                ASSERT_TRUE(stands_at(read, read, match)) << seed << " at " << i;
            }
        }
    }
}

TEST(SuffixAutomaton, WalksOverAnotherTextWhileItGrows) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        const auto letters = static_cast<TokenId>(2 + seed % 4);
        const auto text = random_text(seed, 60, letters);
        const auto other = random_text(seed + 1000, 60, letters);
        SuffixAutomaton fixed, grows;
        for (const auto token : text)
            fixed.append(token);
        SuffixAutomaton::Walk walk, behind;
        for (std::size_t i = 0; i < other.size(); ++i) {
            const auto read = std::span(other).first(i + 1);
            fixed.step(walk, other[i]);
            ASSERT_EQ(walk.length, longest_end(text, read));
            if (walk.length > 0) {
                ASSERT_TRUE(stands_at(text, read, fixed.at(walk)));
            }
            // A place that was left standing while the text grew is still a true match.
            grows.append(text[i]);
            grows.step(behind, other[i]);
            if (behind.length > 0) {
                ASSERT_TRUE(stands_at(grows.text(), read, grows.at(behind)));
            }
        }
    }
}

TEST(SuffixAutomaton, ReadsOnFromItsOwnEnd) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        const auto text = random_text(seed, 80, 3);
        SuffixAutomaton automaton;
        for (const auto token : text)
            automaton.append(token);
        auto walk = automaton.here();
        EXPECT_EQ(walk.length, automaton.match().length);
        std::vector<TokenId> read = text;
        for (int i = 0; i < 10; ++i) {
            read.push_back(random_text(seed + 500, 10, 3)[static_cast<std::size_t>(i)]);
            automaton.step(walk, read.back());
            // Of the whole text itself only what continues counts.
            ASSERT_EQ(walk.length, longest_end(text, read));
        }
    }
}

TEST(SuffixAutomaton, MemoryIsBounded) {
    SuffixAutomaton automaton;
    const auto text = random_text(7, 20000, 5000);
    for (const auto token : text)
        automaton.append(token);
    EXPECT_LT(automaton.bytes(), text.size() * 250);
    while (!automaton.full())
        automaton.append(1);
    automaton.append(2);
    EXPECT_EQ(automaton.text().size(), SuffixAutomaton::kMostTokens);
    EXPECT_EQ(automaton.text().back(), 1);
}

}  // namespace
}  // namespace potluck::coordinator
