#include "worker/core/quiet_hours.h"

#include <gtest/gtest.h>

namespace potluck::worker {
namespace {

/// "until 23:30", or "" outside.
std::string at(const std::string& windows, const std::string& time) {
    const auto parsed = parse_quiet_hours(windows);
    EXPECT_TRUE(parsed) << windows;
    const int minute = std::stoi(time.substr(0, 2)) * 60 + std::stoi(time.substr(3));
    const auto until = quiet_until(*parsed, minute);
    return until ? "until " + time_text(*until) : "";
}

TEST(QuietHours, BeginWithTheirFirstMinuteAndEndBeforeTheirLast) {
    EXPECT_EQ(at("18:00-23:30", "17:59"), "");
    EXPECT_EQ(at("18:00-23:30", "18:00"), "until 23:30");
    EXPECT_EQ(at("18:00-23:30", "23:29"), "until 23:30");
    EXPECT_EQ(at("18:00-23:30", "23:30"), "");
    EXPECT_EQ(at("18:00-23:30", "00:00"), "");
}

TEST(QuietHours, GoOverMidnight) {
    for (const char* inside : {"22:00", "23:59", "00:00", "06:29"})
        EXPECT_EQ(at("22:00-06:30", inside), "until 06:30") << inside;
    for (const char* outside : {"06:30", "12:00", "21:59"})
        EXPECT_EQ(at("22:00-06:30", outside), "") << outside;
    EXPECT_EQ(at("18:00-24:00", "23:59"), "until 00:00");
    EXPECT_EQ(at("18:00-24:00", "00:00"), "");
    EXPECT_EQ(at("00:00-06:00", "00:00"), "until 06:00");
    EXPECT_EQ(at("24:00-06:00", "00:00"), "until 06:00");
}

TEST(QuietHours, SeveralJoinWhereTheyTouch) {
    EXPECT_EQ(at("06:00-08:00,18:00-22:00", "07:00"), "until 08:00");
    EXPECT_EQ(at("06:00-08:00,18:00-22:00", "12:00"), "");
    EXPECT_EQ(at("18:00-22:00,22:00-01:00,00:30-02:00", "19:00"), "until 02:00");
    EXPECT_EQ(at("01:00-13:00,12:00-02:00", "05:00").substr(0, 5), "until");  // the whole day
}

TEST(QuietHours, EveryMinuteIsInsideOrOutside) {
    const auto windows = parse_quiet_hours("23:10-00:20,05:00-05:01").value();
    int inside = 0;
    for (int minute = 0; minute < kMinutesOfDay; ++minute)
        inside += quiet_until(windows, minute) ? 1 : 0;
    EXPECT_EQ(inside, 71);
}

TEST(QuietHours, WhatIsMalformedIsNamed) {
    for (const char* text : {"", "18:00", "18:00-", "-18:00", "18-23", "18:00-25:00", "18:60-19:00",
                             "18:00-18:00", "00:00-24:00", "18:00-23:30,", ",18:00-23:30",
                             "1:00-2:00", "18:00 - 23:30", "24:01-01:00", "+8:00-09:00"}) {
        EXPECT_FALSE(parse_quiet_hours(text)) << text;
    }
    const auto wrong = parse_quiet_hours("18:00-19:00,noon");
    ASSERT_FALSE(wrong);
    EXPECT_NE(wrong.error().message.find("'noon'"), std::string::npos) << wrong.error().message;
}

}  // namespace
}  // namespace potluck::worker
