#include "base/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace potluck {
namespace {

TEST(BoundedQueue, GivesItemsInOrder) {
    BoundedQueue<int> queue(3);
    EXPECT_EQ(queue.capacity(), 3U);
    for (int round = 0; round < 5; ++round) {
        EXPECT_TRUE(queue.try_push(round * 2));
        EXPECT_TRUE(queue.try_push(round * 2 + 1));
        EXPECT_EQ(queue.size(), 2U);
        EXPECT_EQ(queue.pop(), round * 2);
        EXPECT_EQ(queue.try_pop(), round * 2 + 1);
    }
    EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueue, FullMeansNoAndLeavesTheItemAlone) {
    BoundedQueue<std::unique_ptr<int>> queue(1);
    EXPECT_TRUE(queue.try_push(std::make_unique<int>(1)));
    auto second = std::make_unique<int>(2);
    EXPECT_FALSE(queue.try_push(std::move(second)));
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(*second, 2);
    EXPECT_EQ(**queue.pop(), 1);
    EXPECT_TRUE(queue.try_push(std::move(second)));
}

TEST(BoundedQueue, ClosedGivesWhatIsLeftThenNothing) {
    BoundedQueue<std::string> queue(2);
    EXPECT_TRUE(queue.try_push("last"));
    queue.close();
    EXPECT_FALSE(queue.try_push("late"));
    EXPECT_EQ(queue.pop(), "last");
    EXPECT_EQ(queue.pop(), std::nullopt);
    EXPECT_EQ(queue.try_pop(), std::nullopt);
}

TEST(BoundedQueue, CloseWakesWhoeverWaits) {
    BoundedQueue<int> queue(1);
    std::vector<std::thread> waiting;
    for (int i = 0; i < 3; ++i)
        waiting.emplace_back([&] { EXPECT_EQ(queue.pop(), std::nullopt); });
    queue.close();
    for (auto& thread : waiting)
        thread.join();
}

TEST(BoundedQueue, TakenItemsLeaveNothingBehind) {
    BoundedQueue<std::shared_ptr<int>> queue(2);
    const auto item = std::make_shared<int>(1);
    EXPECT_TRUE(queue.try_push(std::shared_ptr<int>(item)));
    EXPECT_EQ(item.use_count(), 2);
    (void)queue.pop();
    EXPECT_EQ(item.use_count(), 1);
}

TEST(BoundedQueue, NothingIsLostOrDoubledBetweenThreads) {
    constexpr int kItems = 2000;
    constexpr int kProducers = 3;
    BoundedQueue<int> queue(4);
    std::vector<std::thread> producers;
    for (int p = 0; p < kProducers; ++p)
        producers.emplace_back([&queue, p] {
            for (int i = 0; i < kItems; ++i) {
                int item = p * kItems + i;
                while (!queue.try_push(std::move(item)))
                    std::this_thread::yield();
            }
        });
    std::vector<int> last(kProducers, -1);
    for (int i = 0; i < kItems * kProducers; ++i) {
        const auto item = queue.pop();
        ASSERT_TRUE(item);
        auto& before = last[static_cast<std::size_t>(*item / kItems)];
        EXPECT_EQ(*item % kItems, before + 1);  // each producer's items stay in order
        before = *item % kItems;
    }
    EXPECT_EQ(queue.size(), 0U);
    for (auto& thread : producers)
        thread.join();
}

TEST(BoundedQueueDeathTest, NeedsRoomForOne) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(BoundedQueue<int>(0), "capacity > 0");
}

}  // namespace
}  // namespace potluck
