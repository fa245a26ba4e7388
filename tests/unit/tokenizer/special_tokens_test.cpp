#include "model/tokenizer/special_tokens.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>

namespace potluck::model {

static bool operator==(const SpecialTokens::Match& a, const SpecialTokens::Match& b) {
    return std::tie(a.begin, a.end, a.id) == std::tie(b.begin, b.end, b.id);
}
static void PrintTo(const SpecialTokens::Match& m, std::ostream* out) {
    *out << m.id << "@[" << m.begin << "," << m.end << ")";
}

namespace {

using Match = SpecialTokens::Match;

std::vector<Match> find(const std::vector<SpecialToken>& tokens, std::string_view text,
                        bool parse_special = true) {
    std::vector<Match> matches;
    SpecialTokens(tokens).find(text, parse_special, matches);
    return matches;
}

/// The definition: token by token, longest first, in what is left of the text.
std::vector<Match> by_definition(std::vector<SpecialToken> tokens, std::string_view text,
                                 bool parse_special) {
    std::stable_sort(
        tokens.begin(), tokens.end(),
        [](const SpecialToken& a, const SpecialToken& b) { return a.text.size() > b.text.size(); });
    std::vector<std::pair<std::size_t, std::size_t>> gaps = {{0, text.size()}};
    std::vector<Match> matches;
    const auto white = [&](std::size_t i) { return text[i] == ' '; };
    for (const SpecialToken& token : tokens) {
        if (!parse_special && !token.always) continue;
        for (std::size_t g = 0; g < gaps.size(); ++g) {
            const auto [begin, end] = gaps[g];
            const std::size_t at = text.substr(begin, end - begin).find(token.text);
            if (at == std::string_view::npos) continue;
            Match match{begin + at, begin + at + token.text.size(), token.id};
            while (token.strips_left && match.begin > begin && white(match.begin - 1))
                --match.begin;
            while (token.strips_right && match.end < end && white(match.end))
                ++match.end;
            gaps[g] = {begin, match.begin};
            gaps.insert(gaps.begin() + static_cast<std::ptrdiff_t>(g) + 1, {match.end, end});
            matches.push_back(match);
        }
    }
    std::sort(matches.begin(), matches.end(),
              [](const Match& a, const Match& b) { return a.begin < b.begin; });
    return matches;
}

TEST(SpecialTokens, LongerTextsGoFirstWhereverTheyStand) {
    const std::vector<SpecialToken> tokens = {{1, "ab"}, {2, "bcd"}, {3, "b"}};
    EXPECT_EQ(find(tokens, "abcd"), (std::vector<Match>{{1, 4, 2}}));
    EXPECT_EQ(find(tokens, "abc"), (std::vector<Match>{{0, 2, 1}}));
    EXPECT_EQ(find(tokens, "bb"), (std::vector<Match>{{0, 1, 3}, {1, 2, 3}}));
    EXPECT_TRUE(find(tokens, "").empty());
    EXPECT_TRUE(find({}, "abcd").empty());
}

TEST(SpecialTokens, ControlTextIsOnlyFoundWhenAskedFor) {
    const std::vector<SpecialToken> tokens = {{1, "<end>"}, {2, "<think>", true}};
    EXPECT_EQ(find(tokens, "<end><think>", true), (std::vector<Match>{{0, 5, 1}, {5, 12, 2}}));
    EXPECT_EQ(find(tokens, "<end><think>", false), (std::vector<Match>{{5, 12, 2}}));
}

TEST(SpecialTokens, AShorterUserTokenIsFoundInsideAControlTokenThatIsNot) {
    const std::vector<SpecialToken> tokens = {{1, "<|end|>"}, {2, "end", true}};
    EXPECT_EQ(find(tokens, "<|end|>", false), (std::vector<Match>{{2, 5, 2}}));
    EXPECT_EQ(find(tokens, "<|end|>", true), (std::vector<Match>{{0, 7, 1}}));
}

TEST(SpecialTokens, StripsWhiteSpaceBesideIt) {
    const std::vector<SpecialToken> tokens = {{1, "<r>", false, false, true},
                                              {2, "<l>", false, true, false}};
    EXPECT_EQ(find(tokens, "a <r> \n b"), (std::vector<Match>{{2, 8, 1}}));
    EXPECT_EQ(find(tokens, "a \t<l> b"), (std::vector<Match>{{1, 6, 2}}));
    EXPECT_EQ(find(tokens, "<r>  <l>"), (std::vector<Match>{{0, 5, 1}, {5, 8, 2}}));
}

TEST(SpecialTokens, FollowsTheDefinitionOnRandomTexts) {
    std::mt19937 random(5);
    const auto word = [&](std::size_t size) {
        std::string text;
        for (std::size_t i = 0; i < size; ++i) {
            text += "aab "[random() % 4];
        }
        return text;
    };
    for (int round = 0; round < 400; ++round) {
        std::vector<std::string> words;
        while (words.size() < 6) {
            const std::string text = word(1 + random() % 5);
            if (std::find(words.begin(), words.end(), text) == words.end()) words.push_back(text);
        }
        std::vector<SpecialToken> tokens;
        for (std::size_t i = 0; i < words.size(); ++i) {
            // With stripping, the white space that a token takes may be another token's text, and
            // then the order of equally long ones matters; both are tried.
            const bool strips = round % 4 == 0;
            tokens.push_back({static_cast<TokenId>(i), words[i], random() % 2 == 0,
                              strips && random() % 3 == 0, strips && random() % 3 == 0});
        }
        const std::string text = word(40);
        for (const bool parse_special : {true, false}) {
            EXPECT_EQ(find(tokens, text, parse_special), by_definition(tokens, text, parse_special))
                << "'" << text << "'";
        }
    }
}

TEST(SpecialTokens, LongTextsTakeLinearWork) {
    std::vector<std::string> words;
    for (std::size_t i = 2; i <= 25; ++i) {
        words.push_back(std::string(i, ' '));
    }
    words.push_back("<|im_end|>");
    words.push_back("<|im_start|>");
    words.push_back("<<<<<<<<x");
    std::vector<SpecialToken> tokens;
    for (std::size_t i = 0; i < words.size(); ++i) {
        tokens.push_back({static_cast<TokenId>(i), words[i], true});
    }
    const SpecialTokens special(tokens);
    const std::size_t size = 1 << 20;
    std::string almost;
    while (almost.size() < size) {
        almost += "<|im_end|";
    }
    std::size_t found = 0;
    for (const std::string& text :
         {std::string(size, ' '), std::string(size, '<'), almost, std::string(size, 'x')}) {
        std::vector<Match> matches;
        std::uint64_t work = 0;
        special.find(text, true, matches, &work);
        EXPECT_LE(work, 4 * text.size());
        found += matches.size();
    }
    EXPECT_EQ(found, size / 25) << "the rest is one space, for which there is no token";
}

}  // namespace
}  // namespace potluck::model
