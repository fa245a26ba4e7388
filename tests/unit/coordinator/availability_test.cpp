#include "coordinator/core/availability.h"

#include <gtest/gtest.h>

namespace potluck::coordinator {
namespace {

constexpr NodeId kAttic(1);
constexpr NodeId kDesk(2);
const WorkerWord kFine{.holds = true};
const WorkerWord kYields{WorkerAbsence::kYielding, "/run/game exists", true};

Availability two_nodes() {
    Availability a;
    a.on_joined(kAttic, "attic", true, kFine);
    a.on_joined(kDesk, "desk", true, kFine);
    return a;
}

TEST(Availability, NodesAreAvailableUntilSomebodySaysOtherwise) {
    const Availability a = two_nodes();
    EXPECT_EQ(a.absence(kAttic), "");
    EXPECT_EQ(a.shown(kAttic).state, "available");
    EXPECT_TRUE(a.shown(kAttic).holds);
    EXPECT_EQ(a.find("desk"), kDesk);
    EXPECT_EQ(a.find("cellar"), NodeId(0));
    EXPECT_EQ(a.absence(NodeId(7)), "");
}

TEST(Availability, ADrainedNodeLeavesUntilItHoldsNothing) {
    Availability a = two_nodes();
    a.set_drained("attic", true);
    EXPECT_EQ(a.absence(kAttic), "drained");
    EXPECT_EQ(a.absence(kDesk), "");
    EXPECT_EQ(a.shown(kAttic).state, "leaving");
    EXPECT_TRUE(a.on_word(kAttic, {.holds = false}));
    EXPECT_EQ(a.shown(kAttic).state, "drained");
    a.set_drained("attic", false);
    EXPECT_EQ(a.shown(kAttic).state, "available");
}

TEST(Availability, DrainingIsByNameAndSurvivesTheNode) {
    Availability a;
    a.set_drained("attic", true);
    a.on_joined(kAttic, "attic", true, kFine);
    EXPECT_EQ(a.absence(kAttic), "drained");
    a.on_left(kAttic);
    EXPECT_EQ(a.absence(kAttic), "");
    EXPECT_TRUE(a.drained("attic"));
}

TEST(Availability, WorkersSayWhy) {
    Availability a = two_nodes();
    EXPECT_FALSE(a.on_word(kAttic, kFine)) << "nothing new";
    EXPECT_TRUE(a.on_word(kAttic, kYields));
    EXPECT_EQ(a.absence(kAttic), "it yields: /run/game exists");
    EXPECT_TRUE(a.on_word(kDesk, {WorkerAbsence::kQuietHours, "until 23:30", false}));
    EXPECT_EQ(a.shown(kDesk).why, "quiet hours: until 23:30");
    EXPECT_EQ(a.shown(kDesk).state, "drained");
    EXPECT_TRUE(a.on_word(kAttic, kFine));
    EXPECT_EQ(a.absence(kAttic), "");
    EXPECT_FALSE(a.on_word(NodeId(7), kYields)) << "nobody";
}

TEST(Availability, WhatAWorkerSaysIsCutAndCleaned) {
    Availability a = two_nodes();
    a.on_word(kAttic, {WorkerAbsence::kYielding, "\x1b[31m" + std::string(1000, 'x'), true});
    const auto why = a.absence(kAttic);
    EXPECT_LT(why.size(), kMaxAbsenceBytes + 20);
    EXPECT_EQ(why.find('\x1b'), std::string::npos);
    // It goes into JSON: no character is cut in two.
    a.on_word(kAttic,
              {WorkerAbsence::kYielding, std::string(255, 'x') + "\xC3\xA9 and more", true});
    EXPECT_EQ(a.absence(kAttic), "it yields: " + std::string(255, 'x') + "\xC3\xA9...");
}

TEST(Availability, EachIsAskedOnceForEachAbsence) {
    Availability a = two_nodes();
    EXPECT_TRUE(a.take_unasked().empty());
    a.set_drained("attic", true);
    EXPECT_EQ(a.take_unasked(), std::vector{kAttic});
    EXPECT_TRUE(a.take_unasked().empty());
    // Another reason on top changes nothing, nor does the first one's end.
    a.on_word(kAttic, kYields);
    a.set_drained("attic", false);
    EXPECT_TRUE(a.take_unasked().empty());
    a.on_word(kAttic, kFine);
    EXPECT_TRUE(a.take_unasked().empty());
    a.set_drained("attic", true);
    EXPECT_EQ(a.take_unasked(), std::vector{kAttic});
    // It comes back with the weights that it kept.
    a.on_left(kAttic);
    a.on_joined(kAttic, "attic", true, kFine);
    EXPECT_EQ(a.take_unasked(), std::vector{kAttic});
}

TEST(Availability, AnOlderWorkerIsNotAskedWhatItDoesNotKnow) {
    Availability a;
    a.on_joined(kAttic, "attic", false, {});
    a.set_drained("attic", true);
    EXPECT_TRUE(a.take_unasked().empty());
    EXPECT_EQ(a.shown(kAttic).state, "leaving");
    EXPECT_NE(a.shown(kAttic).why.find("older version"), std::string::npos);
}

}  // namespace
}  // namespace potluck::coordinator
