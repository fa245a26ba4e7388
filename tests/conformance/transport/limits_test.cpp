// Every transport: bounds are kept on both sides.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/conformance/transport/world.h"

namespace potluck::transport {
namespace {

using ::testing::HasSubstr;

/// Sends until refused; returns how many were taken.
int fill(Connection& connection, std::span<const std::byte> payload, Completions& done,
         Status& refusal, int most) {
    for (int i = 0; i < most; ++i) {
        refusal = send(connection, bytes_of("head"), payload, &done);
        if (!refusal) return i;
    }
    return most;
}

TEST_P(TransportConformance, FullByFramesThenBackPressureEnds) {
    Limits limits;
    limits.max_queued_frames = 4;
    Pair pair = connect(world(), limits);
    pair.client->start(pair.at_client);
    const auto payload = pattern(1U << 20, 1);
    Completions done;
    Status refusal;
    int sent = 0;
    // Nobody reads: the network takes some, then the queue fills. No step can help any more then.
    for (int round = 0; round < 50; ++round) {
        sent += fill(*pair.client, payload, done, refusal, 100);
        world().settle();
        if (!refusal && sent - done.ok == 4) break;
    }
    ASSERT_FALSE(refusal);
    EXPECT_EQ(refusal.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(refusal.error().message, HasSubstr("max_queued_frames"));
    EXPECT_EQ(sent - done.ok, 4) << "more is queued than the bound allows";
    EXPECT_TRUE(done.failed.empty());

    pair.at_server->keep = false;
    pair.server->start(pair.at_server);
    ASSERT_TRUE(
        world().run_until([&] { return pair.at_server->count == static_cast<std::size_t>(sent); }));
    ASSERT_TRUE(world().run_until([&] { return done.ok == sent; }));
    EXPECT_TRUE(send(*pair.client, bytes_of("again"), payload, &done));
    ASSERT_TRUE(world().run_until([&] { return done.ok == sent + 1; }));
}

TEST_P(TransportConformance, FullByBytes) {
    Limits limits;
    limits.max_queued_bytes = 3000;
    Pair pair = connect(world(), limits);
    const auto payload = pattern(1000, 1);
    Completions done;
    Status refusal;
    EXPECT_EQ(fill(*pair.client, payload, done, refusal, 10), 2);
    ASSERT_FALSE(refusal);
    EXPECT_EQ(refusal.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(refusal.error().message, HasSubstr("max_queued_bytes"));
    EXPECT_TRUE(send(*pair.client, {}, pattern(100, 1)));
    EXPECT_EQ(done.all(), 0) << "done came from within send";
    ASSERT_TRUE(world().run_until([&] { return done.ok == 2; }));
}

TEST_P(TransportConformance, AFrameAboveTheBoundsCanNeverBeSent) {
    Limits limits;
    limits.max_head_bytes = 100;
    limits.max_payload_bytes = 200;
    Pair pair = connect(world(), limits, limits);
    pair.start();
    const auto bytes = pattern(201, 1);
    const std::span<const std::byte> all(bytes);
    Completions done;
    const auto head = send(*pair.client, all.first(101), {}, &done);
    const auto payload = send(*pair.client, {}, all, &done);
    ASSERT_FALSE(head);
    ASSERT_FALSE(payload);
    EXPECT_EQ(head.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(payload.error().code, ErrorCode::kInvalidArgument);
    // At the bounds it can.
    ASSERT_TRUE(send(*pair.client, all.first(100), all.first(200), &done));
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 1; }));
    EXPECT_FALSE(pair.at_server->closed);
    EXPECT_EQ(done.all(), 1);
}

void expect_cut_off(World& world, const Limits& server_limits, std::size_t head,
                    std::size_t payload) {
    Pair pair = connect(world, {}, server_limits);
    pair.start();
    const auto bytes = pattern(300, 1);
    const std::span<const std::byte> all(bytes);
    ASSERT_TRUE(send(*pair.client, all.first(1), all.first(1)));
    ASSERT_TRUE(send(*pair.client, all.first(head), all.first(payload)));
    ASSERT_TRUE(world.run_until([&] { return pair.at_server->closed && pair.at_client->closed; }));
    EXPECT_EQ(pair.at_server->count, 1U) << "the frame before is good";
    EXPECT_EQ(pair.at_server->heads, 1U) << "asked for space before the claim was checked";
    EXPECT_EQ(pair.at_server->reason.code, ErrorCode::kCorrupt);
    EXPECT_THAT(pair.at_server->reason.message, HasSubstr("above the bound"));
    EXPECT_EQ(pair.at_client->reason.code, ErrorCode::kPeerLost);
}

TEST_P(TransportConformance, AClaimOfATooLargeHeadIsCutOff) {
    Limits limits;
    limits.max_head_bytes = 100;
    expect_cut_off(world(), limits, 101, 10);
}

TEST_P(TransportConformance, AClaimOfATooLargePayloadIsCutOff) {
    Limits limits;
    limits.max_payload_bytes = 200;
    expect_cut_off(world(), limits, 10, 201);
}

}  // namespace
}  // namespace potluck::transport
