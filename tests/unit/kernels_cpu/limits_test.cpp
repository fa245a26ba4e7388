// What the probes say is positive and belongs to what was asked; no test depends on a speed.

#include "kernels/cpu/limits.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/cpu/limits_kernels.h"

namespace potluck::kernels::cpu {
namespace {

constexpr std::size_t kFewBytes = std::size_t{8} << 20;

TEST(Limits, ArePositiveForEveryInstructionSet) {
    for (const Isa isa : available_isas()) {
        for (const std::size_t threads : {1U, 3U}) {
            const auto limits = measure_limits(
                {.cpu = {.threads = threads, .isa = isa}, .bytes = kFewBytes, .passes = 2});
            ASSERT_TRUE(limits) << limits.error().message;
            EXPECT_EQ(limits->threads, threads);
            EXPECT_EQ(limits->isa, isa);
            EXPECT_GT(limits->read_small_gbps, 0);
            EXPECT_GE(limits->read_huge_gbps, 0);
            EXPECT_GT(limits->int8_gops, 0);
        }
    }
}

TEST(Limits, EveryByteIsRead) {
    const std::size_t bytes = std::size_t{4} * 4096;
    std::vector<std::byte> memory(bytes + 4096);
    const std::size_t past = reinterpret_cast<std::uintptr_t>(memory.data()) % 4096;
    std::byte* const data = memory.data() + (4096 - past) % 4096;
    for (const Isa isa : available_isas()) {
        const auto& kernels = limit_kernels(isa);
        const auto before = kernels.read(data, bytes);
        for (std::size_t i = 0; i < bytes; i += 61) {
            data[i] ^= std::byte{1};
            EXPECT_NE(kernels.read(data, bytes), before) << to_string(isa) << " byte " << i;
            data[i] ^= std::byte{1};
        }
        EXPECT_EQ(kernels.read(data, bytes), before);
    }
}

TEST(Limits, ProductsDependOnTheRounds) {
    for (const Isa isa : available_isas()) {
        const auto& kernels = limit_kernels(isa);
        EXPECT_GT(kernels.operations_per_round, 0U);
        EXPECT_NE(kernels.multiply(1), kernels.multiply(2)) << to_string(isa);
    }
}

}  // namespace
}  // namespace potluck::kernels::cpu
