#include "coordinator/core/request_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace potluck::coordinator {
namespace {

using ::testing::ElementsAre;

struct Queue : RequestQueue {
    std::uint64_t served = 0;
    void add(std::uint64_t id, std::uint64_t work, std::uint32_t tenant = 0,
             Priority priority = Priority::kInteractive) {
        GenerationRequest request;
        request.tenant = TenantId(tenant);
        request.priority = priority;
        push(RequestId(id), std::move(request), work, 0, served);
    }
    std::uint64_t serve() {
        const auto taken = take(next(served)->id);
        served += taken.work;
        return taken.id.value;
    }
    std::vector<std::uint64_t> serve_all() {
        std::vector<std::uint64_t> order;
        while (!empty())
            order.push_back(serve());
        return order;
    }
};

TEST(RequestQueue, FirstComeFirstServedWithinATenant) {
    Queue queue;
    queue.add(1, 500);
    queue.add(2, 10);
    queue.add(3, 100);
    EXPECT_EQ(queue.work(), 610U);
    EXPECT_THAT(queue.serve_all(), ElementsAre(1, 2, 3));
    EXPECT_EQ(queue.work(), 0U);
    EXPECT_EQ(queue.next(0), nullptr);
}

TEST(RequestQueue, ATenantWithManyPromptsWaitsForItself) {
    Queue queue;
    for (std::uint64_t id = 1; id <= 4; ++id)
        queue.add(id, 100, 1);
    queue.add(5, 100, 2);
    queue.add(6, 100, 2);
    EXPECT_THAT(queue.serve_all(), ElementsAre(1, 5, 2, 6, 3, 4));
}

TEST(RequestQueue, InteractiveBeforeBatch) {
    Queue queue;
    queue.add(1, 100, 1, Priority::kBatch);
    queue.add(2, 20, 2);
    queue.add(3, 20, 2);
    EXPECT_THAT(queue.serve_all(), ElementsAre(2, 3, 1));
}

TEST(RequestQueue, NobodyWaitsLongerThanTwiceItsFairShare) {
    Queue queue;
    queue.add(1, 100, 1, Priority::kBatch);
    std::uint64_t next = 2;
    // Interactive prompts come as fast as they are served.
    queue.add(next++, 10, 2);
    while (true) {
        queue.add(next++, 10, 2);
        if (queue.serve() == 1) break;
        ASSERT_LE(queue.served, 200U);
    }
    EXPECT_GE(queue.served, 100U);  // its turn came late, not at once
    EXPECT_LE(queue.served, 200U);
}

TEST(RequestQueue, ErasedOnesAreGone) {
    Queue queue;
    queue.add(1, 10);
    queue.add(2, 20);
    EXPECT_TRUE(queue.erase(RequestId(1)));
    EXPECT_FALSE(queue.erase(RequestId(1)));
    EXPECT_EQ(queue.work(), 20U);
    EXPECT_THAT(queue.serve_all(), ElementsAre(2));
}

}  // namespace
}  // namespace potluck::coordinator
