// The small value types: aligned buffers, strong ids, log levels.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <unordered_set>
#include <utility>

#include "base/aligned_buffer.h"
#include "base/ids.h"
#include "base/log.h"

namespace potluck {
namespace {

TEST(AlignedBuffer, IsAlignedAndZeroed) {
    for (const std::size_t size : {1U, 63U, 64U, 1000U, 1U << 20}) {
        AlignedBuffer buffer(size);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % kBufferAlignment, 0U);
        EXPECT_EQ(buffer.size(), size);
        EXPECT_TRUE(std::all_of(buffer.bytes().begin(), buffer.bytes().end(),
                                [](std::byte b) { return b == std::byte{0}; }));
        std::fill(buffer.bytes().begin(), buffer.bytes().end(), std::byte{1});
    }
}

TEST(AlignedBuffer, ViewsCoverWholeElements) {
    AlignedBuffer buffer(10);
    EXPECT_EQ(buffer.as<std::uint32_t>().size(), 2U);
    buffer.as<std::uint32_t>()[1] = 7;
    EXPECT_EQ(std::as_const(buffer).as<std::uint32_t>()[1], 7U);
    EXPECT_EQ(AlignedBuffer(0).data(), nullptr);
    EXPECT_TRUE(AlignedBuffer().bytes().empty());
}

TEST(StrongId, KindsDoNotMix) {
    static_assert(!std::is_convertible_v<std::uint64_t, SeqId>);
    static_assert(!std::is_convertible_v<SeqId, BatchId>);
    static_assert(!std::is_convertible_v<SeqId, std::uint64_t>);
    EXPECT_LT(SeqId(1), SeqId(2));
    EXPECT_EQ(SeqId(), SeqId(0));
    const std::unordered_set<SeqId> ids = {SeqId(1), SeqId(2), SeqId(1)};
    EXPECT_EQ(ids.size(), 2U);
}

TEST(Log, ShowsItsLevelAndAbove) {
    log::init(log::Level::kWarning, "test");
    EXPECT_FALSE(log::enabled(log::Level::kDebug));
    EXPECT_FALSE(log::enabled(log::Level::kInfo));
    EXPECT_TRUE(log::enabled(log::Level::kWarning));
    EXPECT_TRUE(log::enabled(log::Level::kError));
    testing::internal::CaptureStderr();
    log::info("hidden {}", 1);
    log::warning("shown {}", 2);
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_EQ(text.find("hidden"), std::string::npos);
    EXPECT_NE(text.find("test: shown 2\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace potluck
