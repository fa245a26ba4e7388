// When a worker yields and comes back, as strings of looks: 'b' busy, '.' calm, '?' could not look.

#include "worker/core/yield.h"

#include <gtest/gtest.h>

namespace potluck::worker {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

/// One look a second of each detector; 'Y' where it yields, '-' where not. Calm is 3 s.
std::string play(const std::vector<std::string>& detectors, std::string* why = nullptr) {
    Yield yield({.busy_looks = 2, .calm = 3s});
    std::string out;
    for (std::size_t second = 0; second < detectors.front().size(); ++second) {
        std::vector<Sight> sights;
        for (std::size_t i = 0; i < detectors.size(); ++i) {
            const char c = detectors[i][second];
            sights.push_back({c == 'b'   ? Verdict::kBusy
                              : c == '?' ? Verdict::kUnknown
                                         : Verdict::kCalm,
                              "detector " + std::to_string(i)});
        }
        yield.on_look(std::chrono::seconds(second), sights);
        out += yield.yielding() ? 'Y' : '-';
        if (why != nullptr && yield.yielding()) *why = yield.why();
    }
    return out;
}

TEST(Yield, OneBusyLookIsNotEnoughTwoAre) {
    EXPECT_EQ(play({".b.b.b."}), "-------");
    EXPECT_EQ(play({".bb...."}), "--YYYY-");
}

TEST(Yield, AMachineThatIsBusyFromTheStartIsNotTaken) {
    EXPECT_EQ(play({"b....."}), "YYYY--");
}

TEST(Yield, AnyBusyLookBeginsTheCalmTimeAnew) {
    EXPECT_EQ(play({".bb..b..b...."}), "--YYYYYYYYYY-");
}

TEST(Yield, AllDetectorsMustBeCalm) {
    std::string why;
    EXPECT_EQ(play({".bb.......", "...b.b...."}, &why), "--YYYYYYY-");
    EXPECT_EQ(why, "detector 0");
    // Two that are busy once each are not one that is busy twice.
    EXPECT_EQ(play({".b.....", "..b...."}), "-------");
    EXPECT_EQ(play({".......", "..bb..."}, &why), "---YYYY");
    EXPECT_EQ(why, "detector 1");
}

TEST(Yield, ALookThatFailsChangesNothing) {
    EXPECT_EQ(play({".b?b..."}), "-------");
    EXPECT_EQ(play({".bb??????...."}), "--YYYYYYYYYY-");
    EXPECT_EQ(play({"??????"}), "------");
    EXPECT_EQ(play({".bb.??.."}), "--YYYY--");
}

Verdict memory(std::uint64_t available, std::uint64_t given_back, bool yielding) {
    return judge({.available = available * kGiB,
                  .bound = 4 * kGiB,
                  .given_back = given_back * kGiB,
                  .yielding = yielding})
        .verdict;
}

TEST(Yield, MemoryIsLowBelowTheBound) {
    EXPECT_EQ(memory(4, 0, false), Verdict::kCalm);
    EXPECT_EQ(memory(3, 0, false), Verdict::kBusy);
    EXPECT_EQ(judge({.available = 3 * kGiB, .bound = 4 * kGiB}).detail,
              "3.0 GiB of memory available, less than 4.0 GiB");
}

TEST(Yield, WhatTheWorkerItselfGaveBackDoesNotMakeItComeAgain) {
    EXPECT_EQ(memory(13, 10, true), Verdict::kBusy);  // 3 left once it is back
    EXPECT_EQ(memory(14, 10, true), Verdict::kBusy);  // 4, but a quarter more is wanted
    EXPECT_EQ(memory(15, 10, true), Verdict::kCalm);
    EXPECT_EQ(memory(1, 10, true), Verdict::kBusy);
}

}  // namespace
}  // namespace potluck::worker
