// What may befall frames and processes of the simulated network, and what connections make of it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/conformance/transport/two_hosts.h"

namespace potluck::transport {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using namespace std::chrono_literals;

/// Heads of all frames that came to b, in order.
std::vector<std::string> heads(const TwoHosts& hosts) {
    std::vector<std::string> all;
    for (const auto& frame : hosts.at_b->frames)
        all.emplace_back(reinterpret_cast<const char*>(frame.head.data()), frame.head.size());
    return all;
}

/// Sends one, two, three, and lets the frame "two" meet its fate.
void send_three(TwoHosts& hosts, SimFate fate) {
    hosts.connect();
    hosts.network.tamper(
        "a", "b", [fate](auto head, auto) { return head[1] == std::byte{'w'} ? fate : SimFate{}; });
    for (const char* text : {"one", "two", "three"})
        ASSERT_TRUE(send(*hosts.client, bytes_of(text), bytes_of("payload")));
    hosts.network.run_for(1s);
}

TEST(SimFaults, AFrameIsLate) {
    TwoHosts hosts;
    hosts.connect();
    hosts.network.tamper("a", "b", [](auto, auto) {
        return SimFate{.kind = SimFate::Kind::kIsLate, .delay = 200ms};
    });
    ASSERT_TRUE(send(*hosts.client, bytes_of("one"), {}));
    ASSERT_TRUE(send(*hosts.client, bytes_of("two"), {}));
    hosts.network.run_for(199ms);
    EXPECT_THAT(heads(hosts), ElementsAre());
    hosts.network.run_for(1s);
    EXPECT_THAT(heads(hosts), ElementsAre("one", "two"));
}

TEST(SimFaults, AFrameIsLostAndTheWindowIsNot) {
    SimOptions options;
    options.window_bytes = 30;  // one at a time
    TwoHosts hosts(options);
    send_three(hosts, {.kind = SimFate::Kind::kIsLost});
    EXPECT_THAT(heads(hosts), ElementsAre("one", "three"));
    EXPECT_EQ(hosts.network.unsent_frames(), 0U);
    EXPECT_FALSE(hosts.at_a->closed || hosts.at_b->closed);
}

TEST(SimFaults, AFrameComesTwice) {
    SimOptions options;
    options.window_bytes = 30;
    TwoHosts hosts(options);
    send_three(hosts, {.kind = SimFate::Kind::kComesTwice});
    EXPECT_THAT(heads(hosts), ElementsAre("one", "two", "two", "three"));
    EXPECT_EQ(hosts.at_b->frames[2].payload, bytes_of("payload"));
}

TEST(SimFaults, AFrameIsOvertakenIfAnotherIsUnderWay) {
    TwoHosts hosts;
    send_three(hosts, {.kind = SimFate::Kind::kIsOvertaken});
    EXPECT_THAT(heads(hosts), ElementsAre("one", "three", "two"));
    TwoHosts last;
    last.connect();
    last.network.tamper("a", "b",
                        [](auto, auto) { return SimFate{.kind = SimFate::Kind::kIsOvertaken}; });
    ASSERT_TRUE(send(*last.client, bytes_of("alone"), {}));
    last.network.run_for(1s);
    EXPECT_THAT(heads(last), ElementsAre("alone"));
}

TEST(SimFaults, NothingIsOvertakenByTheEnd) {
    TwoHosts hosts;
    hosts.network.set_link("a", "b", {1ms, 1ms, 0});
    hosts.connect();
    hosts.network.tamper("a", "b",
                         [](auto, auto) { return SimFate{.kind = SimFate::Kind::kIsOvertaken}; });
    ASSERT_TRUE(send(*hosts.client, bytes_of("last"), {}));
    hosts.network.run_for(0ms);  // it leaves
    hosts.client->close();
    hosts.network.run_for(1s);
    EXPECT_THAT(heads(hosts), ElementsAre("last"));
    EXPECT_TRUE(hosts.at_b->closed);
}

TEST(SimFaults, BytesThatChangedEndTheConnection) {
    TwoHosts hosts;
    send_three(hosts, {.kind = SimFate::Kind::kIsBroken});
    EXPECT_THAT(heads(hosts), Each("one"));  // if it was read before
    EXPECT_EQ(hosts.at_b->reason.code, ErrorCode::kCorrupt);
    EXPECT_EQ(hosts.at_a->reason.code, ErrorCode::kPeerLost);
    EXPECT_EQ(hosts.network.open_sides(), 0U);
}

TEST(SimFaults, TamperingIsOfOneDirectionAndEnds) {
    TwoHosts hosts;
    hosts.connect();
    hosts.network.tamper("a", "b", [](auto head, auto) {
        head[0] = std::byte{'X'};
        return SimFate{};
    });
    ASSERT_TRUE(send(*hosts.client, bytes_of("one"), {}));
    ASSERT_TRUE(send(*hosts.server, bytes_of("back"), {}));
    hosts.network.run_for(1s);
    hosts.network.tamper("a", "b", nullptr);
    ASSERT_TRUE(send(*hosts.client, bytes_of("two"), {}));
    hosts.network.run_for(1s);
    EXPECT_THAT(heads(hosts), ElementsAre("Xne", "two"));
    EXPECT_EQ(hosts.at_a->frames[0].head, bytes_of("back"));
}

TEST(SimFaults, ACutMayBeOfOneDirection) {
    TwoHosts hosts;
    hosts.connect();
    hosts.network.cut_one_way("b", "a");
    ASSERT_TRUE(send(*hosts.client, bytes_of("heard"), {}));
    ASSERT_TRUE(send(*hosts.server, bytes_of("not heard"), {}));
    hosts.network.run_for(1h);
    EXPECT_EQ(hosts.at_b->count, 1U);
    EXPECT_EQ(hosts.at_a->count, 0U);
    hosts.dial();  // neither way without the way back
    hosts.network.run_for(10s);
    EXPECT_EQ(hosts.failure.code, ErrorCode::kTimedOut);
    hosts.network.heal("a", "b");
    hosts.network.run_for(1s);
    EXPECT_EQ(hosts.at_a->count, 1U);
}

TEST(SimFaults, AStoppedProcessDoesNothingUntilItGoesOn) {
    TwoHosts hosts;
    hosts.connect();
    bool posted = false;
    hosts.network.post("b", 1ms, [&] { posted = true; });
    hosts.network.pause("b");
    ASSERT_TRUE(send(*hosts.client, bytes_of("one"), {}));
    ASSERT_TRUE(send(*hosts.server, bytes_of("two"), {}));
    hosts.network.run_for(1h);
    EXPECT_FALSE(posted);
    EXPECT_EQ(hosts.at_b->count, 0U);
    EXPECT_EQ(hosts.at_a->count, 0U);
    EXPECT_FALSE(hosts.at_a->closed);
    hosts.dial();
    hosts.network.run_for(10s);
    EXPECT_EQ(hosts.failure.code, ErrorCode::kTimedOut);
    hosts.network.resume("b");
    hosts.network.run_for(1s);
    EXPECT_TRUE(posted);
    EXPECT_EQ(hosts.at_b->count, 1U);
    EXPECT_EQ(hosts.at_a->count, 1U);
}

TEST(SimFaults, AStoppedProcessThatEndsNeverGoesOn) {
    TwoHosts hosts;
    hosts.connect();
    bool posted = false;
    hosts.network.post("b", 1ms, [&] { posted = true; });
    hosts.network.pause("b");
    hosts.network.run_for(10ms);
    hosts.network.crash("b");
    hosts.b = hosts.network.transport("b");
    hosts.network.run_for(1s);
    EXPECT_FALSE(posted);
    EXPECT_TRUE(hosts.at_a->closed);
    bool again = false;
    hosts.network.post("b", 1ms, [&] { again = true; });
    hosts.network.run_for(1s);
    EXPECT_TRUE(again) << "its next life is not stopped";
}

}  // namespace
}  // namespace potluck::transport
