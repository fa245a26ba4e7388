#include "base/spsc_ring.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>

namespace potluck {
namespace {

TEST(SpscRing, KeepsOrderAndItsBound) {
    SpscRing<int> ring(3);
    EXPECT_FALSE(ring.try_pop());
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < 3; ++i)
            EXPECT_TRUE(ring.try_push(10 * round + i));
        EXPECT_FALSE(ring.try_push(99));
        EXPECT_EQ(ring.try_pop(), 10 * round);
        EXPECT_TRUE(ring.try_push(10 * round + 3));
        for (int i = 1; i < 4; ++i)
            EXPECT_EQ(ring.try_pop(), 10 * round + i);
        EXPECT_FALSE(ring.try_pop());
    }
}

TEST(SpscRing, CarriesEverythingBetweenTwoThreads) {
    constexpr std::uint64_t kItems = 200'000;
    struct Item {
        std::uint64_t number, twice;
    };
    SpscRing<Item> ring(7);
    std::thread writer([&] {
        for (std::uint64_t i = 0; i < kItems;) {
            if (ring.try_push({i, 2 * i}))
                ++i;
            else
                std::this_thread::yield();
        }
    });
    for (std::uint64_t expected = 0; expected < kItems;) {
        const auto item = ring.try_pop();
        if (!item) {
            std::this_thread::yield();
            continue;
        }
        ASSERT_EQ(item->number, expected);
        ASSERT_EQ(item->twice, 2 * expected);
        ++expected;
    }
    writer.join();
    EXPECT_FALSE(ring.try_pop());
}

}  // namespace
}  // namespace potluck
