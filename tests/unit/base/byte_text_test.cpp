#include "base/byte_text.h"

#include <gtest/gtest.h>

namespace potluck {
namespace {

TEST(ByteText, TakesTheLargestUnitThatIsNotBelowOne) {
    EXPECT_EQ(byte_text(0), "0 B");
    EXPECT_EQ(byte_text(1023), "1023 B");
    EXPECT_EQ(byte_text(1536), "1.5 KiB");
    EXPECT_EQ(byte_text((std::uint64_t{1} << 20) - 1), "1.0 MiB");
    EXPECT_EQ(byte_text(std::uint64_t{1} << 40), "1.0 TiB");
}

}  // namespace
}  // namespace potluck
