#include "links/heartbeat.h"

#include <gtest/gtest.h>

namespace potluck::links {
namespace {

TEST(Heartbeat, APeerThatAnswersLives) {
    Heartbeat heart;
    for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(heart.beat());
        heart.heard();
    }
}

TEST(Heartbeat, SilenceIsDeathAfterAFewBeats) {
    Heartbeat heart;
    heart.heard();
    int beats = 0;
    while (heart.beat())
        ++beats;
    EXPECT_EQ(beats, Heartbeat::kBeats);
}

TEST(Heartbeat, AnyWordIsEnough) {
    Heartbeat heart;
    for (int i = 0; i < 20; ++i) {
        for (int beat = 0; beat < Heartbeat::kBeats; ++beat)
            EXPECT_TRUE(heart.beat());
        heart.heard();
    }
}

// Between the last word and the verdict: at most a fifth more than was asked for.
TEST(Heartbeat, TheIntervalFollowsTheSilence) {
    using std::chrono::milliseconds;
    for (const milliseconds silence : {milliseconds(750), milliseconds(5000), milliseconds(3)}) {
        const auto worst = Heartbeat::interval(silence) * (Heartbeat::kBeats + 1);
        EXPECT_GE(worst, silence);
        if (silence > milliseconds(100)) {
            EXPECT_LE(worst, silence * 6 / 5);
        }
    }
}

}  // namespace
}  // namespace potluck::links
