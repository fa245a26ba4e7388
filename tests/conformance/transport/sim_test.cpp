// What only the simulator has: virtual time, faults, and runs that repeat.

#include "transport/sim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/conformance/transport/two_hosts.h"

namespace potluck::transport {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::size_t kMany = 1'000'000;

TEST(Sim, PostsComeInTheirTimeAndOrder) {
    SimNetwork network;
    std::vector<int> order;
    network.post(2ms, [&] { order.push_back(3); });
    network.post(1ms, [&] {
        order.push_back(1);
        network.post(0ms, [&] { order.push_back(2); });
        EXPECT_EQ(network.now(), 1ms);
    });
    network.post(2ms, [&] { order.push_back(4); });
    EXPECT_EQ(network.run_until_idle(3), 3U);
    EXPECT_EQ(network.run_until_idle(100), 1U);
    EXPECT_FALSE(network.step());
    EXPECT_THAT(order, ElementsAre(1, 2, 3, 4));
    EXPECT_EQ(network.now(), 2ms);
    network.run_for(5ms);
    EXPECT_EQ(network.now(), 7ms);
}

TEST(Sim, DelaysAreWithinTheLinkAndDiffer) {
    TwoHosts hosts;
    hosts.network.set_link("a", "b", {3ms, 9ms, 0});
    hosts.connect();
    std::vector<std::chrono::nanoseconds> took;
    auto sent = hosts.network.now();
    hosts.at_b->on_each = [&] { took.push_back(hosts.network.now() - sent); };
    for (int i = 0; i < 20; ++i) {
        sent = hosts.network.now();
        ASSERT_TRUE(send(*hosts.client, bytes_of("x"), {}));
        hosts.network.run_for(20ms);
    }
    ASSERT_EQ(took.size(), 20U);
    for (const auto delay : took) {
        EXPECT_GE(delay, 3ms);
        EXPECT_LE(delay, 9ms);
    }
    EXPECT_GT(
        *std::max_element(took.begin(), took.end()) - *std::min_element(took.begin(), took.end()),
        1ms);
}

TEST(Sim, BandwidthTakesTime) {
    TwoHosts hosts;
    hosts.network.set_link("a", "b", {1ms, 1ms, 1'000'000});
    hosts.connect();
    const auto begin = hosts.network.now();
    std::chrono::nanoseconds end{};
    hosts.at_b->on_each = [&] { end = hosts.network.now(); };
    for (int i = 0; i < 10; ++i)
        ASSERT_TRUE(send(*hosts.client, {}, pattern(100'000 - 16, 1)));
    hosts.network.run_for(10s);
    EXPECT_EQ(hosts.at_b->count, 10U);
    EXPECT_EQ(end - begin, 1001ms);  // a megabyte at a megabyte per second, and the delay
}

TEST(Sim, ACutHoldsBackAndHealingLetsGo) {
    TwoHosts hosts;
    hosts.connect();
    ASSERT_TRUE(send(*hosts.client, bytes_of("before"), {}));
    hosts.network.cut("a", "b");
    ASSERT_TRUE(send(*hosts.client, bytes_of("during"), {}));
    hosts.network.run_for(1h);
    EXPECT_EQ(hosts.at_b->count, 0U);
    EXPECT_FALSE(hosts.at_a->closed || hosts.at_b->closed) << "silence is not an end";
    hosts.network.heal("b", "a");
    ASSERT_TRUE(send(*hosts.client, bytes_of("after"), {}));
    hosts.network.run_for(1s);
    ASSERT_EQ(hosts.at_b->count, 3U);
    EXPECT_EQ(hosts.at_b->frames[0].head, bytes_of("before"));
    EXPECT_EQ(hosts.at_b->frames[1].head, bytes_of("during"));
    EXPECT_EQ(hosts.at_b->frames[2].head, bytes_of("after"));
}

TEST(Sim, DialsTimeOutInACut) {
    TwoHosts hosts;
    hosts.network.cut("a", "b");
    hosts.dial();
    hosts.network.run_for(999ms);
    EXPECT_EQ(hosts.answers, 0);
    hosts.network.run_for(10s);
    EXPECT_EQ(hosts.answers, 1);
    EXPECT_EQ(hosts.failure.code, ErrorCode::kTimedOut);
    EXPECT_EQ(hosts.server, nullptr);
}

TEST(Sim, ACutOnTheWayBackLeavesNoHalfConnection) {
    TwoHosts hosts;
    hosts.network.set_link("a", "b", {1ms, 1ms, 0});
    hosts.dial();
    hosts.network.run_for(1500us);
    ASSERT_NE(hosts.server, nullptr);
    hosts.network.cut("a", "b");
    hosts.network.run_for(10s);
    EXPECT_EQ(hosts.failure.code, ErrorCode::kTimedOut);
    EXPECT_EQ(hosts.answers, 1);
    EXPECT_FALSE(hosts.at_b->closed);
    hosts.network.heal("a", "b");
    hosts.network.run_for(10s);
    EXPECT_TRUE(hosts.at_b->closed);
}

TEST(Sim, AResetEndsBothSides) {
    TwoHosts hosts;
    hosts.connect();
    hosts.network.cut("a", "b");
    Completions done;
    ASSERT_TRUE(send(*hosts.client, bytes_of("lost"), {}, &done));
    hosts.network.reset("a", "b");
    hosts.network.run_for(1s);
    EXPECT_EQ(hosts.at_a->reason.code, ErrorCode::kPeerLost);
    EXPECT_EQ(hosts.at_b->reason.code, ErrorCode::kPeerLost);
    EXPECT_EQ(done.all(), 1);
    hosts.network.heal("a", "b");
    hosts.network.run_for(1s);
    EXPECT_EQ(hosts.at_b->count, 0U);
    EXPECT_EQ(hosts.at_a->closed_count, 1);
    EXPECT_EQ(hosts.at_b->closed_count, 1);
}

TEST(Sim, ACrashIsSilentThereAndHeardHere) {
    TwoHosts hosts;
    hosts.connect();
    Completions done;
    bool posted = false;
    hosts.network.post("b", 1ms, [&] { posted = true; });
    ASSERT_TRUE(send(*hosts.server, bytes_of("sent before"), {}));
    hosts.network.run_for(0ms);  // it leaves
    ASSERT_TRUE(send(*hosts.server, bytes_of("not sent"), {}, &done));
    hosts.network.crash("b");
    hosts.network.run_for(1s);
    EXPECT_FALSE(posted);
    EXPECT_FALSE(hosts.at_b->closed) << "a dead process hears nothing";
    EXPECT_EQ(done.all(), 0);
    ASSERT_EQ(hosts.at_a->count, 1U);
    EXPECT_EQ(hosts.at_a->frames[0].head, bytes_of("sent before"));
    EXPECT_EQ(hosts.at_a->reason.code, ErrorCode::kPeerLost);
    EXPECT_FALSE(send(*hosts.server, bytes_of("from the grave"), {}));
    hosts.dial();
    hosts.network.run_for(1s);
    EXPECT_EQ(hosts.failure.code, ErrorCode::kPeerLost);
    EXPECT_THAT(hosts.failure.message, HasSubstr("b:7000"));
}

TEST(Sim, ACrashedHostComesBack) {
    TwoHosts hosts;
    hosts.connect();
    hosts.network.crash("b");
    EXPECT_FALSE(hosts.b->listen("b:7000", {}, [](auto) {})) << "the old life is over";
    hosts.b = hosts.network.transport("b");
    int accepted = 0;
    std::shared_ptr<Connection> kept;
    const auto again = hosts.b->listen("b:7000", {}, [&](auto connection) {
        ++accepted;
        kept = connection;
    });
    ASSERT_TRUE(again);
    hosts.listener.reset();  // the old one must not close the new one's port
    hosts.dial();
    hosts.network.run_for(1s);
    EXPECT_EQ(accepted, 1);
    EXPECT_EQ(hosts.answers, 2);
    EXPECT_TRUE(hosts.failure.message.empty());
}

TEST(Sim, PowerOffIsSilent) {
    TwoHosts hosts;
    hosts.connect();
    hosts.network.power_off("b");
    ASSERT_TRUE(send(*hosts.client, bytes_of("anybody there?"), {}));
    hosts.network.run_for(1h);
    EXPECT_FALSE(hosts.at_a->closed);
    EXPECT_EQ(hosts.at_b->count, 0U);
    hosts.dial();
    hosts.network.run_for(10s);
    EXPECT_EQ(hosts.failure.code, ErrorCode::kTimedOut);
    hosts.network.reset("a", "b");
    hosts.network.run_for(1s);
    EXPECT_TRUE(hosts.at_a->closed);
}

TEST(Sim, ACrashFromWithinACallbackOfTheVictim) {
    TwoHosts hosts;
    hosts.connect();
    hosts.at_b->on_each = [&] { hosts.network.crash("b"); };
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(send(*hosts.client, bytes_of("x"), bytes_of("y")));
    hosts.network.run_for(1s);
    EXPECT_EQ(hosts.at_b->count, 1U);
    EXPECT_TRUE(hosts.at_a->closed);
}

TEST(Sim, UnknownHostsAndForeignAddressesAreRefused) {
    TwoHosts hosts;
    Error failure;
    hosts.a->dial("nowhere:1", {}, 1s, [&](auto made) { failure = made.error(); });
    hosts.network.run_for(1s);
    EXPECT_EQ(failure.code, ErrorCode::kNotFound);
    EXPECT_THAT(failure.message, HasSubstr("nowhere:1"));
    const auto foreign = hosts.a->listen("b:7001", {}, [](auto) {});
    ASSERT_FALSE(foreign);
    EXPECT_THAT(foreign.error().message, HasSubstr("this host is a"));
}

/// Some minutes in the life of five hosts; returns the hash of all events.
std::uint64_t busy_run(std::uint64_t seed, std::size_t* frames = nullptr, char last = 'x') {
    SimOptions options;
    options.seed = seed;
    options.window_bytes = 5000;
    SimNetwork network(options);
    std::vector<std::unique_ptr<Transport>> hosts;
    std::vector<std::unique_ptr<Listener>> listeners;
    std::vector<std::shared_ptr<Connection>> connections;
    struct Counter final : Receiver {
        Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t n) override {
            space.resize(n);
            return std::span<std::byte>(space);
        }
        Status on_frame(std::span<const std::byte>, std::span<std::byte>) override {
            ++frames;
            return {};
        }
        void on_closed(const Error&) override {}
        std::vector<std::byte> space;
        std::size_t frames = 0;
    };
    std::vector<std::shared_ptr<Counter>> counters;
    const auto take = [&](const std::shared_ptr<Connection>& connection) {
        counters.push_back(std::make_shared<Counter>());
        connection->start(counters.back());
        connections.push_back(connection);
    };
    for (int i = 0; i < 5; ++i) {
        const std::string name = "host" + std::to_string(i);
        hosts.push_back(network.transport(name));
        listeners.push_back(*hosts.back()->listen(name + ":1", {}, take));
        for (int j = 0; j < i; ++j) {
            hosts.back()->dial("host" + std::to_string(j) + ":1", {}, 1s, [&](auto made) {
                if (made) take(*made);
            });
        }
    }
    network.run_for(10ms);
    for (std::uint32_t round = 0; round < 50; ++round) {
        for (std::size_t i = 0; i < connections.size(); ++i)
            (void)send(*connections[i], pattern(round, 1), pattern(i * 100, round));
        if (round == 20) network.cut("host0", "host1");
        if (round == 30) network.heal("host0", "host1");
        if (round == 40) network.crash("host2");
        if (round == 35) {
            EXPECT_TRUE(send(*connections[0], bytes_of(std::string(1, last)), {}));
        }
        network.run_for(100us);
    }
    network.run_until_idle(kMany);
    if (frames != nullptr) {
        for (const auto& counter : counters)
            *frames += counter->frames;
    }
    return network.event_hash();
}

TEST(Sim, TheSameSeedIsTheSameRun) {
    std::size_t frames = 0;
    const std::uint64_t first = busy_run(42, &frames);
    EXPECT_GT(frames, 800U);
    EXPECT_EQ(busy_run(42), first);
    EXPECT_NE(busy_run(43), first);
    EXPECT_NE(busy_run(42, nullptr, 'y'), first) << "one byte of one frame counts";
}

TEST(Sim, ConnectionsMayOutliveTheNetwork) {
    std::shared_ptr<Connection> client;
    auto recorder = std::make_shared<Recorder>();
    {
        TwoHosts hosts;
        hosts.connect();
        client = hosts.client;
        client->start(recorder);
    }
    EXPECT_FALSE(send(*client, bytes_of("x"), {}));
    client->start(recorder);
    client->close();
    EXPECT_FALSE(recorder->closed);
}

}  // namespace
}  // namespace potluck::transport
