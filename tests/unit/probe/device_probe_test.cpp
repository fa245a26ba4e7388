// What the probe says is positive, of every type that the device has, and belongs to the time that
// it was given; no test depends on a speed.

#include "worker/probe/device_probe.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/cpu/cpu_device.h"
#include "kernels/deferred/deferred_device.h"

namespace potluck::worker {
namespace {

ProbeOptions quick() {
    return {.budget = std::chrono::milliseconds(30), .read_bytes = std::size_t{4} << 20};
}

std::size_t weight_types(const kernels::Device& device) {
    return static_cast<std::size_t>(std::ranges::count_if(tensor_types(), [&](const auto& type) {
        return type.weight &&
               !device.unsupported(
                   {.op = kernels::OpKind::kMatmul, .type = type.type, .columns = 1024});
    }));
}

void expect_plausible(const kernels::Device& device, const DeviceProbe& probe) {
    EXPECT_GT(probe.read_gbps, 0);
    EXPECT_GT(probe.layer_overhead_us, 0);
    EXPECT_EQ(probe.types.size(), weight_types(device));
    for (const auto& type : probe.types)
        for (const double gops : type.gops)
            EXPECT_GT(gops, 0) << to_string(type.type);
    for (const double gops : probe.attention_gops)
        EXPECT_GT(gops, 0);
    for (const double gops : probe.elementwise_gops)
        EXPECT_GT(gops, 0);
}

TEST(DeviceProbe, MeasuresEveryInstructionSet) {
    for (const auto isa : kernels::cpu::available_isas()) {
        const auto device = kernels::cpu::make_cpu_device({.threads = 2, .isa = isa}).value();
        const auto probe = probe_device(*device, quick());
        ASSERT_TRUE(probe) << probe.error().message;
        expect_plausible(*device, *probe);
    }
}

/// Nothing is read or written by the host but what the device was asked for.
TEST(DeviceProbe, MeasuresADeviceWithMemoryOfItsOwn) {
    const auto device = kernels::deferred::make_deferred_device(
                            kernels::cpu::make_cpu_device({.threads = 1}).value())
                            .value();
    const auto probe = probe_device(*device, quick());
    ASSERT_TRUE(probe) << probe.error().message;
    expect_plausible(*device, *probe);
}

TEST(DeviceProbe, FiguresFollowTheClock) {
    const auto device = kernels::cpu::make_cpu_device({.threads = 1}).value();
    std::chrono::nanoseconds time{0};
    // Every look at the clock is a millisecond later: each call takes exactly one.
    auto options = quick();
    options.now = [&] { return time += std::chrono::milliseconds(1); };
    const auto probe = probe_device(*device, options).value();
    EXPECT_DOUBLE_EQ(probe.layer_overhead_us, 1000);
    for (const auto& type : probe.types) {
        // A 32nd of the bytes that are read, in rows of 1024 weights, 64 at a time.
        const std::size_t row = row_bytes(type.type, 1024);
        const std::size_t outputs = std::max<std::size_t>((4U << 20) / 32 / row / 64, 1) * 64;
        EXPECT_DOUBLE_EQ(type.gops[0], 2.0 * 1024 * static_cast<double>(outputs) / 1e-3 / 1e9)
            << to_string(type.type);
        EXPECT_DOUBLE_EQ(type.gops[1], 8 * type.gops[0]) << to_string(type.type);
        EXPECT_GE(type.gops[2], 16 * 2.0 * 1024 * 512 / 1e-3 / 1e9) << to_string(type.type);
    }
}

TEST(DeviceProbe, APaceSlowsEverything) {
    const DeviceProbe probe{.read_gbps = 12,
                            .types = {{TensorType::kQ8_0, {3, 6, 9}}},
                            .attention_gops = {30, 60, 90},
                            .elementwise_gops = {3, 3, 6},
                            .layer_overhead_us = 5};
    const DeviceProbe expected{.read_gbps = 4,
                               .types = {{TensorType::kQ8_0, {1, 2, 3}}},
                               .attention_gops = {10, 20, 30},
                               .elementwise_gops = {1, 1, 2},
                               .layer_overhead_us = 15};
    EXPECT_EQ(slowed(probe, 3), expected);
}

}  // namespace
}  // namespace potluck::worker
