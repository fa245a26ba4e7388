// What makes the deferred device like a GPU: late execution, late reading of host memory, memory
// that the host cannot touch, errors that surface when the host waits.

#include <gtest/gtest.h>

#include <csetjmp>
#include <csignal>

#include "tests/conformance/kernels/float_harness.h"

namespace potluck::kernels::test {
namespace {

Machine deferred_machine() {
    return Machine(deferred_device(cpu::available_isas().back(), 2));
}

TEST(DeviceDeferred, NothingHappensBeforeSynchronize) {
    Machine m = deferred_machine();
    const auto device = m.make<float>(4);
    const std::vector<float> ones(4, 1);
    std::vector<float> host(4, -1);
    ASSERT_TRUE(m.stream().upload(device->data(), std::as_bytes(std::span(ones))));
    ASSERT_TRUE(m.ops().add(
        m.stream(),
        {.a = device->as<float>(), .b = device->as<float>(), .n = 4, .out = device->as<float>()}));
    ASSERT_TRUE(m.stream().download(std::as_writable_bytes(std::span(host)), device->data()));
    EXPECT_EQ(host, std::vector<float>(4, -1));
    ASSERT_TRUE(m.stream().synchronize());
    EXPECT_EQ(host, std::vector<float>(4, 2));
}

TEST(DeviceDeferred, UploadsReadHostMemoryLate) {
    Machine m = deferred_machine();
    const auto device = m.make<float>(4);
    std::vector<float> source(4, 1);
    ASSERT_TRUE(m.stream().upload(device->data(), std::as_bytes(std::span(source))));
    source.assign(4, 7);
    EXPECT_EQ(m.get<float>(*device, 4), std::vector<float>(4, 7));
}

TEST(DeviceDeferred, ArgumentsAreCopiedByTheCall) {
    Machine m = deferred_machine();
    const auto x = m.put(std::vector<float>(4, 3));
    AddArgs args = {.a = x->as<float>(), .b = x->as<float>(), .n = 4, .out = x->as<float>()};
    ASSERT_TRUE(m.ops().add(m.stream(), args));
    args = {};
    EXPECT_EQ(m.get<float>(*x, 4), std::vector<float>(4, 6));
}

TEST(DeviceDeferred, ErrorsSurfaceAtSynchronizeOnceAndStopWhatFollows) {
    Machine m = deferred_machine();
    const auto x = m.put(std::vector<float>(4, 3));
    EXPECT_TRUE(m.ops().add(m.stream(), {.n = 4}));  // nonsense, but queued
    EXPECT_TRUE(m.ops().add(
        m.stream(), {.a = x->as<float>(), .b = x->as<float>(), .n = 4, .out = x->as<float>()}));
    const Status failed = m.stream().synchronize();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, ErrorCode::kInternal);
    EXPECT_EQ(failed.error().message, "add: null pointer");
    EXPECT_TRUE(m.stream().synchronize());
    EXPECT_EQ(m.get<float>(*x, 4), std::vector<float>(4, 3));
}

TEST(DeviceDeferred, AFullQueueStillDoesEverythingInOrder) {
    Machine m = deferred_machine();
    const auto x = m.put(std::vector<float>{0});
    const auto one = m.put(std::vector<float>{1});
    constexpr std::size_t kMany = 10000;
    for (std::size_t i = 0; i < kMany; ++i)
        ASSERT_TRUE(m.ops().add(
            m.stream(),
            {.a = x->as<float>(), .b = one->as<float>(), .n = 1, .out = x->as<float>()}));
    EXPECT_EQ(m.get<float>(*x, 1), std::vector<float>{kMany});
}

TEST(DeviceDeferred, AnErrorBeforeAFullQueueIsNotForgotten) {
    Machine m = deferred_machine();
    const auto x = m.put(std::vector<float>{0});
    EXPECT_TRUE(m.ops().swiglu(m.stream(), {.n = 1}));
    for (std::size_t i = 0; i < 10000; ++i)
        ASSERT_TRUE(m.ops().add(
            m.stream(), {.a = x->as<float>(), .b = x->as<float>(), .n = 1, .out = x->as<float>()}));
    const Status failed = m.stream().synchronize();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().message, "swiglu: null pointer");
}

TEST(DeviceDeferred, MemoryIsZeroedWhenItComesBackIntoUse) {
    Machine m = deferred_machine();
    for (int round = 0; round < 20; ++round) {
        const auto buffer = m.make<float>(3000);
        EXPECT_EQ(m.get<float>(*buffer, 3000), std::vector<float>(3000)) << round;
        const auto other = m.put(std::vector<float>(3000, 5));
    }
    EXPECT_GT(m.device().free_bytes(), 1U << 20);
}

sigjmp_buf fault_return;  // NOLINT: a signal handler can reach nothing else
void on_fault(int) {
    siglongjmp(fault_return, 1);
}

/// Whether the host faults when it does `touch`. Handlers are ours for the moment, so that a
/// sanitizer's own do not end the program.
template <typename Touch>
bool faults(Touch touch) {
    struct sigaction ours = {};
    struct sigaction old_segv = {};
    struct sigaction old_bus = {};
    ours.sa_handler = on_fault;
    ours.sa_flags = SA_NODEFER;
    sigaction(SIGSEGV, &ours, &old_segv);
    sigaction(SIGBUS, &ours, &old_bus);
    volatile bool faulted = true;
    if (sigsetjmp(fault_return, 1) == 0) {
        touch();
        faulted = false;
    }
    sigaction(SIGSEGV, &old_segv, nullptr);
    sigaction(SIGBUS, &old_bus, nullptr);
    return faulted;
}

__attribute__((noinline, no_sanitize("address", "thread", "undefined"))) void poke(std::byte* at) {
    *static_cast<volatile std::byte*>(at) = std::byte{1};
}
__attribute__((noinline, no_sanitize("address", "thread", "undefined"))) int peek(
    const std::byte* at) {
    return static_cast<int>(*static_cast<const volatile std::byte*>(at));
}

TEST(DeviceDeferred, TheHostCannotTouchItsMemory) {
    Machine m = deferred_machine();
    const auto buffer = m.put(std::vector<float>(100, 3));
    std::byte ordinary{};
    EXPECT_FALSE(faults([&] { poke(&ordinary); }));
    EXPECT_TRUE(faults([&] { poke(buffer->data()); }));
    EXPECT_TRUE(faults([&] { (void)peek(buffer->data()); }));
    EXPECT_TRUE(faults([&] { (void)peek(buffer->data() + 399); }));
    EXPECT_EQ(m.get<float>(*buffer, 100), std::vector<float>(100, 3));
    EXPECT_TRUE(faults([&] { poke(buffer->data()); }));  // closed again
}

TEST(DeviceDeferred, OpsBeyondABufferFault) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "SKIPPED: the fault is inside the device's own code, which a sanitizer watches";
#else
    // In a process of its own: the fault ends it.
    EXPECT_DEATH(
        {
            Machine m(deferred_device(cpu::Isa::kScalar, 1));
            const auto x = m.make<float>(64);
            (void)m.ops().add(
                m.stream(),
                {.a = x->as<float>(), .b = x->as<float>(), .n = 80, .out = x->as<float>()});
            (void)m.stream().synchronize();
        },
        "");
    EXPECT_DEATH(
        {
            Machine m(deferred_device(cpu::Isa::kScalar, 1));
            auto x = m.make<float>(64);
            (void)m.ops().add(
                m.stream(),
                {.a = x->as<float>(), .b = x->as<float>(), .n = 64, .out = x->as<float>()});
            x.reset();  // while the queue still needs it
            (void)m.stream().synchronize();
        },
        "");
#endif
}

}  // namespace
}  // namespace potluck::kernels::test
