#include <gtest/gtest.h>

#include "links/control_link.h"

namespace potluck::links {
namespace {

TEST(Reachable, AnUnnamedHostIsWhereItWasSeen) {
    EXPECT_EQ(reachable("0.0.0.0:7000", "10.0.0.7:51234"), "10.0.0.7:7000");
    EXPECT_EQ(reachable("[::]:7000", "[fd00::7]:51234"), "[fd00::7]:7000");
    EXPECT_EQ(reachable(":7000", "attic:7070"), "attic:7000");
}

TEST(Reachable, ANamedHostIsKept) {
    EXPECT_EQ(reachable("10.0.0.8:7000", "10.0.0.7:51234"), "10.0.0.8:7000");
    EXPECT_EQ(reachable("127.0.0.1:7000", "10.0.0.7:51234"), "127.0.0.1:7000");
    EXPECT_EQ(reachable("nonsense", "10.0.0.7:51234"), "nonsense");
    EXPECT_EQ(reachable("0.0.0.0:7000", "nonsense"), "0.0.0.0:7000");
}

}  // namespace
}  // namespace potluck::links
