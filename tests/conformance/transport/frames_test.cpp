// Every transport: what is sent arrives, whole, in order, where the receiver wants it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/conformance/transport/world.h"

namespace potluck::transport {
namespace {

std::size_t head_size(std::uint32_t i) {
    return i % 41;
}

TEST_P(TransportConformance, AFrameEachWay) {
    Pair pair = connect(world());
    pair.start();
    const auto question = bytes_of("question");
    const auto answer = bytes_of("answer");
    ASSERT_TRUE(send(*pair.client, question, answer));
    ASSERT_TRUE(send(*pair.server, answer, question));
    ASSERT_TRUE(world().run_until(
        [&] { return pair.at_server->count == 1 && pair.at_client->count == 1; }));
    EXPECT_EQ(pair.at_server->frames[0].head, question);
    EXPECT_EQ(pair.at_server->frames[0].payload, answer);
    EXPECT_EQ(pair.at_client->frames[0].head, answer);
    EXPECT_EQ(pair.at_client->frames[0].payload, question);
    EXPECT_FALSE(pair.client->peer().empty());
    EXPECT_FALSE(pair.server->peer().empty());
}

TEST_P(TransportConformance, EmptyPartsArrive) {
    Pair pair = connect(world());
    pair.start();
    const auto text = bytes_of("x");
    ASSERT_TRUE(pair.client->send(text, {}, nullptr));
    ASSERT_TRUE(send(*pair.client, text, {}));
    ASSERT_TRUE(send(*pair.client, {}, text));
    ASSERT_TRUE(send(*pair.client, {}, {}));
    ASSERT_TRUE(send(*pair.client, text, text));
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 5; }));
    const auto& frames = pair.at_server->frames;
    EXPECT_EQ(frames[0].head, text);
    EXPECT_TRUE(frames[0].payload.empty());
    EXPECT_EQ(frames[1].head, text);
    EXPECT_TRUE(frames[1].payload.empty());
    EXPECT_TRUE(frames[2].head.empty());
    EXPECT_EQ(frames[2].payload, text);
    EXPECT_TRUE(frames[3].head.empty() && frames[3].payload.empty());
    EXPECT_EQ(frames[4].payload, text);
    EXPECT_EQ(pair.at_server->heads, 2U) << "on_head is for frames with a payload only";
}

TEST_P(TransportConformance, ManyFramesKeepTheirOrder) {
    Pair pair = connect(world());
    pair.start();
    constexpr std::uint32_t n = 2000;
    Completions done;
    std::uint32_t sent = 0;
    // Sizes around the edges of reading buffers; sends whenever there is room.
    const auto size_of = [](std::uint32_t i) { return i % 7 == 0 ? 65536 - 40 + i % 64 : i % 97; };
    std::vector<std::vector<std::byte>> payloads;
    for (std::uint32_t i = 0; i < n; ++i)
        payloads.push_back(pattern(size_of(i), i));
    while (sent < n) {
        const auto head = pattern(head_size(sent), sent + n);
        if (send(*pair.client, head, payloads[sent], &done)) {
            ++sent;
        } else {
            world().step();
        }
    }
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == n; }));
    for (std::uint32_t i = 0; i < n; ++i) {
        ASSERT_EQ(pair.at_server->frames[i].head, pattern(head_size(i), i + n)) << "frame " << i;
        ASSERT_EQ(pair.at_server->frames[i].payload, payloads[i]) << "frame " << i;
    }
    ASSERT_TRUE(world().run_until([&] { return done.all() == static_cast<int>(n); }));
    EXPECT_EQ(done.ok, static_cast<int>(n));
}

TEST_P(TransportConformance, ALargePayloadInPieces) {
    Pair pair = connect(world());
    pair.start();
    const auto payload = pattern(20U << 20, 5);
    // Pieces of odd sizes, some empty, more than one write can gather.
    std::vector<std::span<const std::byte>> pieces;
    std::span<const std::byte> rest(payload);
    for (std::size_t i = 0; i < 200; ++i) {
        const std::size_t n = std::min<std::size_t>(rest.size(), i % 5 == 0 ? 0 : 1 + i * 37);
        pieces.push_back(rest.first(n));
        rest = rest.subspan(n);
    }
    pieces.push_back(rest);
    int done = 0;
    ASSERT_TRUE(pair.client->send(bytes_of("large"), pieces, [&](const Status& status) {
        EXPECT_TRUE(status);
        ++done;
    }));
    EXPECT_EQ(done, 0) << "done came from within send";
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 1; }));
    EXPECT_TRUE(pair.at_server->frames[0].payload == payload);
    ASSERT_TRUE(world().run_until([&] { return done == 1; }));
}

TEST_P(TransportConformance, ALargeHeadArrives) {
    Pair pair = connect(world());
    pair.start();
    const auto head = pattern(3U << 20, 6);
    const auto small = bytes_of("small");
    ASSERT_TRUE(send(*pair.client, head, small));
    ASSERT_TRUE(send(*pair.client, small, small));
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 2; }));
    EXPECT_TRUE(pair.at_server->frames[0].head == head);
    EXPECT_EQ(pair.at_server->frames[1].head, small);
}

TEST_P(TransportConformance, TheHeadIsCopiedBySend) {
    Pair pair = connect(world());
    pair.start();
    auto head = bytes_of("first");
    ASSERT_TRUE(send(*pair.client, head, {}));
    std::fill(head.begin(), head.end(), std::byte{0});
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 1; }));
    EXPECT_EQ(pair.at_server->frames[0].head, bytes_of("first"));
}

TEST_P(TransportConformance, FramesWaitUntilThereIsAReceiver) {
    Pair pair = connect(world());
    pair.client->start(pair.at_client);
    for (std::uint32_t i = 0; i < 10; ++i)
        ASSERT_TRUE(send(*pair.client, pattern(4, i), pattern(100, i)));
    world().settle();
    EXPECT_EQ(pair.at_server->count, 0U);
    pair.server->start(pair.at_server);
    EXPECT_EQ(pair.at_server->count, 0U) << "a callback from within start";
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 10; }));
    EXPECT_EQ(pair.at_server->frames[9].payload, pattern(100, 9));
}

TEST_P(TransportConformance, TheReceiverCanBeReplacedAndPaused) {
    Pair pair = connect(world());
    const auto second = std::make_shared<Recorder>();
    pair.client->start(pair.at_client);
    pair.server->start(pair.at_server);
    // The first frame decides who gets the second: what a Hello does.
    pair.at_server->on_each = [&] { pair.server->start(second); };
    second->on_each = [&] {
        if (second->count == 2) pair.server->start(nullptr);
    };
    for (std::uint32_t i = 0; i < 5; ++i)
        ASSERT_TRUE(send(*pair.client, pattern(4, i), pattern(i, i)));
    ASSERT_TRUE(world().run_until([&] { return second->count == 2; }));
    world().settle();
    EXPECT_EQ(pair.at_server->count, 1U);
    ASSERT_EQ(second->count, 2U) << "paused";
    second->on_each = nullptr;
    pair.server->start(second);
    ASSERT_TRUE(world().run_until([&] { return second->count == 4; }));
    EXPECT_EQ(second->frames[3].payload, pattern(4, 4));
    EXPECT_FALSE(pair.at_server->closed);
}

TEST_P(TransportConformance, SendsFromWithinCallbacks) {
    Pair pair = connect(world());
    pair.start();
    // Ping-pong: each frame is answered from its on_frame.
    const auto ball = bytes_of("ball");
    pair.at_server->on_each = [&] { EXPECT_TRUE(send(*pair.server, ball, ball)); };
    pair.at_client->on_each = [&] {
        if (pair.at_client->count < 100) {
            EXPECT_TRUE(send(*pair.client, ball, ball));
        }
    };
    ASSERT_TRUE(send(*pair.client, ball, ball));
    ASSERT_TRUE(world().run_until([&] { return pair.at_client->count == 100; }));
    EXPECT_EQ(pair.at_server->count, 100U);
}

TEST_P(TransportConformance, SendsFromWithinDone) {
    Pair pair = connect(world());
    pair.start();
    const auto text = bytes_of("chain");
    int left = 50;
    std::function<void(Status)> next = [&](const Status& status) {
        EXPECT_TRUE(status);
        if (--left > 0) {
            EXPECT_TRUE(pair.client->send(text, {}, next));
        }
    };
    ASSERT_TRUE(pair.client->send(text, {}, next));
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 50; }));
}

TEST_P(TransportConformance, SeveralConnectionsAtOnce) {
    constexpr std::size_t n = 20;
    std::vector<std::shared_ptr<Connection>> accepted;
    std::vector<std::shared_ptr<Recorder>> recorders;
    auto listener = world().server().listen(world().any_address(), {},
                                            [&](std::shared_ptr<Connection> connection) {
                                                recorders.push_back(std::make_shared<Recorder>());
                                                connection->start(recorders.back());
                                                accepted.push_back(std::move(connection));
                                            });
    ASSERT_TRUE(listener) << listener.error().message;
    std::vector<std::shared_ptr<Connection>> dialled(n);
    for (std::size_t i = 0; i < n; ++i) {
        world().client().dial((*listener)->address(), {}, std::chrono::seconds(10),
                              [&, i](auto made) {
                                  ASSERT_TRUE(made) << made.error().message;
                                  dialled[i] = std::move(*made);
                              });
    }
    const auto all = [&] {
        return accepted.size() == n && std::all_of(dialled.begin(), dialled.end(),
                                                   [](const auto& c) { return c != nullptr; });
    };
    ASSERT_TRUE(world().run_until(all));
    // Each sends frames that carry its own number; nobody gets another's.
    std::vector<std::vector<std::byte>> payloads;
    for (std::uint32_t i = 0; i < n; ++i)
        payloads.push_back(pattern(1000 + i, i));
    for (int round = 0; round < 30; ++round)
        for (std::size_t i = 0; i < n; ++i)
            ASSERT_TRUE(send(*dialled[i], payloads[i], payloads[i]));
    ASSERT_TRUE(world().run_until([&] {
        return std::all_of(recorders.begin(), recorders.end(),
                           [](const auto& r) { return r->count == 30; });
    }));
    std::vector<std::size_t> seen;
    for (const auto& recorder : recorders) {
        const auto& first = recorder->frames.front();
        seen.push_back(first.payload.size() - 1000);
        for (const auto& frame : recorder->frames) {
            EXPECT_EQ(frame.payload, first.payload);
            EXPECT_EQ(frame.head, first.payload);
        }
    }
    std::sort(seen.begin(), seen.end());
    for (std::size_t i = 0; i < n; ++i)
        EXPECT_EQ(seen[i], i);
}

}  // namespace
}  // namespace potluck::transport
