// What a client may see of the tokens, as tables of what goes in and what comes out.

#include "coordinator/core/answer_text.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/unit/coordinator/support.h"

namespace potluck::coordinator {
namespace {

struct Push {
    std::string bytes;  ///< of one token
    std::string text;   ///< that becomes visible
    int tokens = 1;     ///< reports that come with it
    bool stops = false;
};
struct Case {
    const char* name;
    std::vector<std::string> stop;
    std::vector<Push> pushes;
    std::string at_finish;  ///< text of finish(), unless a stop came
    int tokens_at_finish = 0;
};

class Answer : public ::testing::TestWithParam<Case> {};

TEST_P(Answer, ShowsWholeCharactersAndNothingOfAStop) {
    const Case& c = GetParam();
    AnswerText answer(bundled_tokenizer(), c.stop);
    std::vector<TokenId> pushed;
    std::vector<TokenId> reported;
    const auto take = [&](const Delta& delta) {
        for (const auto& token : delta.tokens)
            reported.push_back(token.token);
        return static_cast<int>(delta.tokens.size());
    };
    bool stopped = false;
    for (const auto& push : c.pushes) {
        ASSERT_FALSE(stopped) << "the table goes on after a stop";
        Delta delta;
        pushed.push_back(token_of(push.bytes));
        stopped = answer.push({.token = pushed.back()}, delta);
        EXPECT_EQ(stopped, push.stops) << push.bytes;
        EXPECT_EQ(delta.text, push.text) << push.bytes;
        EXPECT_EQ(take(delta), push.tokens) << push.bytes;
    }
    if (!stopped) {
        Delta delta;
        answer.finish(delta);
        EXPECT_EQ(delta.text, c.at_finish);
        EXPECT_EQ(take(delta), c.tokens_at_finish);
        EXPECT_EQ(reported.size(), pushed.size());
    }
    // In order, each at most once.
    ASSERT_LE(reported.size(), pushed.size());
    EXPECT_TRUE(std::equal(reported.begin(), reported.end(), pushed.begin()));
}

INSTANTIATE_TEST_SUITE_P(
    All, Answer,
    ::testing::Values(
        Case{"Plain", {}, {{"a", "a"}, {"b", "b"}}, ""},
        Case{"StopInOneToken", {"b"}, {{"a", "a"}, {"b", "", 0, true}}},
        Case{"StopOverThreeTokens",
             {"abc"},
             {{"x", "x"}, {"a", "", 0}, {"b", "", 0}, {"c", "", 0, true}}},
        Case{"StopAtTheVeryBeginning", {"ab"}, {{"a", "", 0}, {"b", "", 0, true}}},
        Case{"PrefixThatWasNone", {"abc"}, {{"a", "", 0}, {"b", "", 0}, {"x", "abx", 3}}},
        // "aab": the second a begins the stop anew, the first is text now.
        Case{"PrefixThatBeginsAnew", {"ab"}, {{"a", "", 0}, {"a", "a", 1}, {"b", "", 0, true}}},
        Case{"PrefixAtTheEndIsText", {"abc"}, {{"a", "", 0}, {"b", "", 0}}, "ab", 2},
        Case{"EarliestOfSeveral",
             {"xyz", "c", "bc"},
             {{"a", "a"}, {"b", "", 0}, {"c", "", 0, true}}},
        Case{"LongestPrefixIsHeld",
             {"bq", "abcd"},
             {{"a", "", 0}, {"b", "", 0}, {"c", "", 0}, {"x", "abcx", 4}}},
        Case{"EmptyStopsAreNone", {""}, {{"a", "a"}, {"b", "b"}}, ""},
        Case{"TwoBytes", {}, {{"\xC3", "", 0}, {"\xA9", "\xC3\xA9", 2}, {"a", "a"}}},
        Case{"FourBytes",
             {},
             {{"\xF0", "", 0}, {"\x9F", "", 0}, {"\x98", "", 0}, {"\x80", "\xF0\x9F\x98\x80", 4}}},
        Case{"HalfACharacterAtTheEnd",
             {},
             {{"a", "a"}, {"\xF0", "", 0}, {"\x9F", "", 0}},
             "\xEF\xBF\xBD",
             2},
        // Half a character, then an ASCII letter: the mark comes out with the letter.
        Case{"BrokenCharacter",
             {},
             {{"\xC3", "", 0},
              {"a",
               "\xEF\xBF\xBD"
               "a",
               2}}},
        Case{"StopOfManyBytes",
             {"\xC3\xA9!"},
             {{"\xC3", "", 0}, {"\xA9", "", 0}, {"!", "", 0, true}}},
        Case{"CharacterHeldBackAsAPrefix",
             {"\xC3\xA9!"},
             {{"\xC3", "", 0}, {"\xA9", "", 0}, {"?", "\xC3\xA9?", 3}}}),
    [](const auto& instance) { return instance.param.name; });

// However a text is cut into tokens, what is shown is the text up to the stop.
TEST(AnswerText, CutsEveryTokenisationAtTheSameByte) {
    const auto tokenizer = bundled_tokenizer();
    const std::string text =
        "def f(x):\n    return x  # caf\xC3\xA9 \xF0\x9F\x98\x80\n\nprint(f(1))\n";
    for (const std::string stop :
         {"\n\n", "return", "x)", "\xF0\x9F\x98\x80\n", "zzz", "d", "\n"}) {
        const std::string expected = text.substr(0, text.find(stop));
        for (std::size_t piece = 1; piece <= 9; ++piece) {
            std::vector<TokenId> tokens;
            for (std::size_t at = 0; at < text.size(); at += piece) {
                // Invalid halves would be repaired by the encoder: take single bytes for those.
                const std::string part = text.substr(at, piece);
                const bool ascii = std::all_of(part.begin(), part.end(), [](char c) {
                    return static_cast<signed char>(c) >= 0;
                });
                if (ascii) {
                    const auto encoded = tokenizer->encode(part, false, false);
                    tokens.insert(tokens.end(), encoded.begin(), encoded.end());
                } else {
                    for (const char c : part)
                        tokens.push_back(token_of(std::string(1, c)));
                }
            }
            AnswerText answer(tokenizer, {stop});
            Delta delta;
            bool stopped = false;
            for (std::size_t i = 0; i < tokens.size() && !stopped; ++i)
                stopped = answer.push({.token = tokens[i]}, delta);
            if (!stopped) answer.finish(delta);
            EXPECT_EQ(stopped, text.find(stop) != std::string::npos) << stop;
            EXPECT_EQ(delta.text, expected) << "stop " << stop << ", pieces of " << piece;
        }
    }
}

TEST(AnswerText, ReportsTokensWithoutText) {
    AnswerText answer(bundled_tokenizer(), {});
    Delta delta;
    const TokenId end = bundled_tokenizer()->end_of_generation_tokens().front();
    EXPECT_FALSE(answer.push({.token = end, .logprob = -2}, delta));
    ASSERT_EQ(delta.tokens.size(), 1U);
    EXPECT_EQ(delta.tokens[0].logprob, -2);
    EXPECT_EQ(delta.text, "");
}

}  // namespace
}  // namespace potluck::coordinator
