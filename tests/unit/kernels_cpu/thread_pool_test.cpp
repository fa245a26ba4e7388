#include "kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace potluck::kernels::cpu {
namespace {

double cpu_seconds() {
    rusage usage = {};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class ThreadPoolTest : public testing::TestWithParam<std::size_t> {};

TEST_P(ThreadPoolTest, EveryTaskRunsOnceAndItsWritesAreSeen) {
    ThreadPool pool(GetParam());
    EXPECT_EQ(pool.threads(), GetParam());
    for (const std::size_t n : {0U, 1U, 2U, 3U, 4U, 7U, 64U, 1000U}) {
        std::vector<int> calls(n);  // plain: a task seen twice or too late is a data race
        auto task = [&](std::size_t i) { ++calls[i]; };
        pool.run(n, task);
        EXPECT_EQ(calls, std::vector<int>(n, 1));
    }
}

TEST_P(ThreadPoolTest, ManyTinyRunsOfDifferentTasks) {
    ThreadPool pool(GetParam());
    std::vector<std::size_t> sums(8);
    constexpr std::size_t kRuns = 20000;
    std::size_t expected = 0;
    for (std::size_t run = 0; run < kRuns; ++run) {
        const std::size_t n = run % 8 + 1;
        auto task = [&sums, run](std::size_t i) { sums[i] += run + i; };
        pool.run(n, task);
        for (std::size_t i = 0; i < n; ++i)
            expected += run + i;
    }
    EXPECT_EQ(std::accumulate(sums.begin(), sums.end(), std::size_t{0}), expected);
}

TEST_P(ThreadPoolTest, WakesWorkersThatSleep) {
    ThreadPool pool(GetParam());
    for (int round = 0; round < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        std::atomic<int> calls{0};
        auto task = [&](std::size_t) { ++calls; };
        pool.run(100, task);
        EXPECT_EQ(calls, 100);
    }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 8),
                         testing::PrintToStringParamName());

TEST(ThreadPoolSharing, AllThreadsTakePart) {
    ThreadPool pool(3);
    std::atomic<int> inside{0};
    // Each task waits until all three are inside: only three threads can finish this.
    auto task = [&](std::size_t) {
        ++inside;
        while (inside < 3)
            std::this_thread::yield();
    };
    pool.run(3, task);
    EXPECT_EQ(inside, 3);
}

TEST(ThreadPoolSharing, ASlowWorkerHoldsUpOnlyItsOwnTask) {
    ThreadPool pool(2);
    std::atomic<std::size_t> by_caller{0};
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> worker_holds_one{false};
    auto task = [&](std::size_t) {
        if (std::this_thread::get_id() != caller) {
            worker_holds_one = true;
            while (by_caller < 50)
                std::this_thread::yield();
            return;
        }
        while (!worker_holds_one)
            std::this_thread::yield();
        ++by_caller;
    };
    pool.run(51, task);
    EXPECT_GE(by_caller, 50U);
}

TEST(ThreadPoolSharing, AnIdlePoolUsesNoCpu) {
    ThreadPool pool(4);
    auto task = [](std::size_t) {};
    pool.run(8, task);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const double before = cpu_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    EXPECT_LT(cpu_seconds() - before, 0.02);
}

TEST(ThreadPoolSharing, WaitingForALongTaskUsesNoCpu) {
    ThreadPool pool(2);
    const auto caller = std::this_thread::get_id();
    std::atomic<bool> worker_sleeps{false};
    const double before = cpu_seconds();
    auto task = [&](std::size_t) {
        if (std::this_thread::get_id() == caller) {
            while (!worker_sleeps)
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            return;
        }
        worker_sleeps = true;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    };
    pool.run(2, task);
    EXPECT_LT(cpu_seconds() - before, 0.05);
}

TEST(ThreadPoolSharing, BoundThreadsKeepToOneCoreEach) {
    // On a thread of its own, which stays bound.
    std::thread([] {
        cpu_set_t before;
        ASSERT_EQ(::sched_getaffinity(0, sizeof before, &before), 0);
        ThreadPool pool(3, 1);
        std::atomic<int> bound{0};
        auto task = [&](std::size_t) {
            cpu_set_t mine;
            ::sched_getaffinity(0, sizeof mine, &mine);
            if (CPU_COUNT(&mine) == 1) ++bound;
        };
        pool.run(100, task);
        EXPECT_EQ(bound, 100);
        cpu_set_t caller;
        ::sched_getaffinity(0, sizeof caller, &caller);
        // The second core of the process, or the first if there is but one.
        std::size_t core = 0;
        for (int left = CPU_COUNT(&before) > 1 ? 1 : 0; !CPU_ISSET(core, &before) || left-- > 0;)
            ++core;
        EXPECT_TRUE(CPU_ISSET(core, &caller));
    }).join();
}

TEST(ThreadPoolDeathTest, RunInsideATaskIsACheck) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    for (const std::size_t threads : {1U, 2U})
        EXPECT_DEATH(
            {
                ThreadPool pool(threads);
                auto inner = [](std::size_t) {};
                auto outer = [&](std::size_t) { pool.run(2, inner); };
                pool.run(4, outer);
            },
            "does not hold");
}

TEST(ThreadPoolDeathTest, NoThreadsIsACheck) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(ThreadPool(0), "threads >= 1");
}

}  // namespace
}  // namespace potluck::kernels::cpu
