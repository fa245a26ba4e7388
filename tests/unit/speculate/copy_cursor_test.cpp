#include "coordinator/speculate/copy_cursor.h"

#include <gmock/gmock.h>

namespace potluck::coordinator {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

struct Follower {
    SuffixAutomaton automaton;
    CopyCursor cursor;

    void read(const std::vector<TokenId>& tokens) {
        for (const auto token : tokens) {
            automaton.append(token);
            cursor.observe(automaton.text(), automaton.match());
        }
    }
    std::vector<TokenId> draft(std::size_t most) {
        std::vector<TokenId> out;
        cursor.draft(automaton.text(), most, out);
        return out;
    }
};

TEST(CopyCursor, FollowsACopy) {
    Follower f;
    f.read({1, 2, 3, 4, 5, 6, 7, 8, 100});
    EXPECT_TRUE(f.draft(4).empty());
    f.read({1, 2, 3});
    EXPECT_EQ(f.cursor.evidence(), 3U);
    EXPECT_FALSE(f.cursor.recovered());
    EXPECT_THAT(f.draft(4), ElementsAre(4, 5, 6, 7));
}

TEST(CopyCursor, LearnsWhatWasPutForWhat) {
    Follower f;
    // "rename 50 to 60 61": 50 stands three times in the source.
    f.read({1, 2, 3, 50, 4, 5, 6, 50, 7, 8, 9, 50, 10, 11, 100});
    f.read({1, 2, 3, 60, 61});
    EXPECT_TRUE(f.draft(4).empty());
    f.read({4});
    EXPECT_TRUE(f.cursor.recovered());
    EXPECT_THAT(f.draft(8), ElementsAre(5, 6, 60, 61, 7, 8, 9, 60));
    f.read({5, 6, 60});
    EXPECT_THAT(f.draft(3), ElementsAre(61, 7, 8));
    EXPECT_EQ(f.cursor.evidence(), 4U);
    f.read({61, 7});
    EXPECT_THAT(f.draft(6), ElementsAre(8, 9, 60, 61, 10, 11));
}

TEST(CopyCursor, DropsAReplacementThatDoesNotHold) {
    Follower f;
    f.read({1, 2, 3, 50, 4, 5, 6, 50, 7, 8, 9, 50, 10, 11, 100, 1, 2, 3, 60, 4, 5, 6});
    EXPECT_THAT(f.draft(2), ElementsAre(60, 7));
    f.read({50});
    EXPECT_TRUE(f.cursor.follows());
    EXPECT_THAT(f.draft(5), ElementsAre(7, 8, 9, 50, 10));
}

TEST(CopyCursor, GoesOnBehindWhatWasLeftOutOrPutIn) {
    Follower f;
    f.read({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 100, 1, 2, 3, 4});
    f.read({8});  // 5, 6, 7 were left out
    EXPECT_THAT(f.draft(2), ElementsAre(9, 10));
    Follower g;
    g.read({1, 2, 3, 4, 5, 6, 7, 8, 100, 1, 2, 3, 4});
    g.read({70, 71, 5});  // 70, 71 were put in
    EXPECT_THAT(g.draft(2), ElementsAre(6, 7));
}

TEST(CopyCursor, ForgetsACopyThatEnds) {
    Follower f;
    f.read({1, 2, 3, 4, 5, 100, 1, 2, 3});
    EXPECT_TRUE(f.cursor.follows());
    for (TokenId i = 0; i < 40; ++i)
        f.read({200 + i});
    EXPECT_FALSE(f.cursor.follows());
    EXPECT_TRUE(f.draft(4).empty());
}

TEST(CopyCursor, RepeatsBeyondTheEnd) {
    Follower f;
    f.read({1, 2, 3, 1, 2, 3, 1, 2, 3});
    EXPECT_THAT(f.draft(7), ElementsAreArray({1, 2, 3, 1, 2, 3, 1}));
}

}  // namespace
}  // namespace potluck::coordinator
