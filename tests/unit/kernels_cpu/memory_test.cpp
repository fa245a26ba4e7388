#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "kernels/cpu/cpu_memory.h"

namespace potluck::kernels::cpu {
namespace {

TEST(CpuMemory, FieldsOfTheSystemsTexts) {
    constexpr std::string_view kInfo =
        "MemTotal:       16384000 kB\nMemFree:  1 kB\nMemAvailable:   12345 kB\n";
    EXPECT_EQ(parse_field(kInfo, "MemAvailable"), 12345U);
    EXPECT_EQ(parse_field(kInfo, "MemTotal"), 16384000U);
    EXPECT_EQ(parse_field(kInfo, "Mem"), 0U);
    EXPECT_EQ(parse_field(kInfo, "SwapFree"), 0U);
    constexpr std::string_view kStat = "inactive_file_x 5\ninactive_file 4096\nactive_file 7";
    EXPECT_EQ(parse_field(kStat, "inactive_file"), 4096U);
    EXPECT_EQ(parse_field(kStat, "active_file"), 7U);
    EXPECT_EQ(parse_field("", "x"), 0U);
    EXPECT_EQ(parse_field("x", "x"), 0U);
    EXPECT_EQ(parse_field("x: many", "x"), 0U);
}

TEST(CpuMemory, SomeIsAvailable) {
    EXPECT_GT(available_memory(), std::size_t{16} << 20);
    EXPECT_LT(available_memory(), std::size_t{1} << 50);
}

TEST(CpuMemory, LargeBuffersAreWritableZeroedAndGivenBack) {
    constexpr std::size_t kBytes = (std::size_t{3} << 20) + 17;
    for (int round = 0; round < 3; ++round) {
        auto buffer = allocate_memory(kBytes, 0);
        ASSERT_TRUE(buffer) << buffer.error().message;
        const std::span<std::byte> bytes((*buffer)->data(), kBytes);
        EXPECT_TRUE(
            std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }));
        std::fill(bytes.begin(), bytes.end(), std::byte{255});
    }
}

/// Else all would want a new one in the same step, and one token in a thousand would be late.
TEST(CpuMemory, BuffersSideBySideReachTheirHugePagesOneAfterAnother) {
    constexpr std::size_t kHuge = std::size_t{2} << 20;
    std::vector<std::unique_ptr<Buffer>> buffers;
    std::set<std::size_t> places;
    for (std::size_t i = 0; i < 32; ++i) {
        auto buffer = allocate_memory(3 * kHuge, i);
        ASSERT_TRUE(buffer) << buffer.error().message;
        places.insert(reinterpret_cast<std::uintptr_t>((*buffer)->data()) % kHuge);
        buffers.push_back(std::move(*buffer));
    }
    EXPECT_EQ(places.size(), 32U);
}

TEST(CpuMemory, MoreThanThereIsIsRefusedNotKilled) {
    for (const std::size_t bytes : {available_memory() + (std::size_t{1} << 30), SIZE_MAX}) {
        const auto buffer = allocate_memory(bytes, 31);
        ASSERT_FALSE(buffer);
        EXPECT_EQ(buffer.error().code, ErrorCode::kResourceExhausted);
    }
}

}  // namespace
}  // namespace potluck::kernels::cpu
