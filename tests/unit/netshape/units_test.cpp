#include "tools/netshape/units.h"

#include <gtest/gtest.h>

namespace potluck::netshape {
namespace {

using std::chrono::microseconds;

TEST(Units, Rates) {
    EXPECT_EQ(parse_rate("1gbit").value(), 1e9);
    EXPECT_EQ(parse_rate("2.5gbit").value(), 2.5e9);
    EXPECT_EQ(parse_rate("100mbit").value(), 1e8);
    for (const char* bad : {"", "1", "gbit", "-1gbit", "0mbit", "1gbits", "nanmbit", "1e99gbit"})
        EXPECT_FALSE(parse_rate(bad)) << bad;
}

TEST(Units, Times) {
    EXPECT_EQ(parse_time("0.3ms").value(), microseconds(300));
    EXPECT_EQ(parse_time("200us").value(), microseconds(200));
    EXPECT_EQ(parse_time("0s").value(), microseconds(0));
    for (const char* bad : {"", "3", "-1ms", "1m", "61s", "infs"})
        EXPECT_FALSE(parse_time(bad)) << bad;
}

TEST(Units, Addresses) {
    EXPECT_EQ(parse_address("10.77.0.1").value(), 0x0A4D0001u);
    for (const char* bad :
         {"", "10.77.0", "10.77.0.", "10.77.0.1.", "10.77.0.256", "a.b.c.d", "1 .2.3.4"})
        EXPECT_FALSE(parse_address(bad)) << bad;
}

TEST(Units, Shares) {
    EXPECT_EQ(parse_share("0.25").value(), 0.25);
    for (const char* bad : {"", "1.1", "-0.1", "1%"})
        EXPECT_FALSE(parse_share(bad)) << bad;
}

}  // namespace
}  // namespace potluck::netshape
