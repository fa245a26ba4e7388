// A second version of the wire format, which only tests have, beside the first: the same batches
// and results, each link in one version, and no frame of the one taken for the other.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proto/control.h"
#include "proto/frame.h"
#include "tests/support/wire_v2.h"
#include "tests/unit/proto/wire_data.h"

namespace potluck::proto {
namespace {

using test::kWireV2;
using ::testing::AllOf;
using ::testing::HasSubstr;

FrameRoute in_v2(FrameRoute route) {
    route.wire = &kWireV2;
    return route;
}

TEST(Versions, RowsAndResultsRoundTripInTheSecond) {
    std::vector<std::byte> head;
    FrameHeader header;
    Batch batch;
    StepResult result;
    encode_rows(in_v2(rows_route()), sample_batch(), kRowsWidth, head);
    auto status = decode_rows(head, header, batch, kWireV2);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(batch, sample_batch());
    EXPECT_EQ(header.version, 2);
    EXPECT_EQ(header.epoch, rows_route().epoch);
    EXPECT_EQ(header.stage, rows_route().stage);
    encode_result(in_v2(result_route()), sample_result(), head);
    status = decode_result(head, header, result, kWireV2);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(result, sample_result());
}

TEST(Versions, BothCarryTheSameBodyBehindTheirHeaders) {
    std::vector<std::byte> old_head;
    std::vector<std::byte> new_head;
    encode_rows(rows_route(), sample_batch(), kRowsWidth, old_head);
    encode_rows(in_v2(rows_route()), sample_batch(), kRowsWidth, new_head);
    EXPECT_EQ(old_head, read_hex("rows.hex")) << "version 1 is frozen";
    const auto body = [](const std::vector<std::byte>& head, std::size_t header_bytes) {
        constexpr std::size_t kBody = 0xD7 + 2 * 24;
        const auto begin = head.begin() + static_cast<std::ptrdiff_t>(header_bytes);
        return std::vector<std::byte>(begin, begin + kBody);
    };
    EXPECT_EQ(body(old_head, kFrameHeaderBytes), body(new_head, test::kHeaderBytesV2));
    EXPECT_EQ(new_head.size() % kPayloadAlignment, 0U);
}

TEST(Versions, FramesOfTheOtherAreRefused) {
    std::vector<std::byte> head;
    FrameHeader header;
    Batch batch;
    encode_rows(rows_route(), sample_batch(), kRowsWidth, head);
    EXPECT_FALSE(decode_rows(head, header, batch, kWireV2));
    EXPECT_TRUE(decode_rows(head, header, batch));
    encode_rows(in_v2(rows_route()), sample_batch(), kRowsWidth, head);
    const auto refused = decode_rows(head, header, batch);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("header.magic: 0x324b4c50"));
    EXPECT_TRUE(decode_rows(head, header, batch, kWireV2));
}

TEST(Versions, TheFieldThatOnlyTheSecondHasIsChecked) {
    std::vector<std::byte> head;
    FrameHeader header;
    Batch batch;
    encode_rows(in_v2(rows_route()), sample_batch(), kRowsWidth, head);
    for (std::size_t i = 0; i < test::kHeaderBytesV2; ++i) {
        auto broken = head;
        broken[i] ^= std::byte{1};
        EXPECT_FALSE(decode_rows(broken, header, batch, kWireV2)) << "byte " << i;
    }
}

TEST(Versions, TheHighestCommonOneIsSpoken) {
    struct Case {
        WireVersions own, peer;
        int spoken;  ///< 0: none
    };
    const WireVersions only_old(test::kOld);
    const WireVersions both(test::kBoth);
    const WireVersions only_new(test::kNew);
    const Case cases[] = {{only_old, only_old, 1}, {only_old, both, 1},    {both, only_old, 1},
                          {both, both, 2},         {both, only_new, 2},    {only_new, both, 2},
                          {only_old, only_new, 0}, {only_new, only_old, 0}};
    for (const auto& [own, peer, spoken] : cases) {
        SCOPED_TRACE(testing::Message() << own.min() << ".." << own.max() << " and " << peer.min()
                                        << ".." << peer.max());
        const auto agreed = own.negotiate(peer.min(), peer.max());
        ASSERT_EQ(agreed.has_value(), spoken != 0);
        if (agreed) {
            EXPECT_EQ((*agreed)->version, spoken);
            continue;
        }
        EXPECT_EQ(agreed.error().code, ErrorCode::kUnsupported);
        const auto range = [](WireVersions v) {
            return std::to_string(v.min()) + " to " + std::to_string(v.max());
        };
        EXPECT_THAT(agreed.error().message, AllOf(HasSubstr("this side speaks " + range(own)),
                                                  HasSubstr("the peer " + range(peer))));
    }
}

TEST(Versions, TheBuildSpeaksTheFirst) {
    EXPECT_EQ(wire_versions().min(), kWireVersionMin);
    EXPECT_EQ(wire_versions().max(), kWireVersionMax);
    EXPECT_EQ((*wire_versions().negotiate(1, 7))->version, 1);
}

}  // namespace
}  // namespace potluck::proto
