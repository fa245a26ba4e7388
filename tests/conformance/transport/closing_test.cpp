// Every transport: how connections and dials end, each callback exactly once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/conformance/transport/world.h"

namespace potluck::transport {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

TEST_P(TransportConformance, TheOtherSideClosed) {
    Pair pair = connect(world());
    pair.start();
    Completions done;
    ASSERT_TRUE(send(*pair.client, bytes_of("last words"), {}, &done));
    ASSERT_TRUE(world().run_until([&] { return done.ok == 1; }));
    pair.client->close();
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->closed; }));
    EXPECT_EQ(pair.at_server->count, 1U) << "what left before the close must arrive";
    EXPECT_EQ(pair.at_server->reason.code, ErrorCode::kPeerLost);
    EXPECT_THAT(pair.at_server->reason.message, HasSubstr(pair.server->peer()));
    world().settle();
    EXPECT_EQ(pair.at_server->closed_count, 1);
    const auto late = send(*pair.server, bytes_of("late"), {}, &done);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kPeerLost);
    EXPECT_EQ(done.all(), 1);
}

TEST_P(TransportConformance, OwnClose) {
    Pair pair = connect(world());
    pair.start();
    pair.client->close();
    EXPECT_FALSE(pair.at_client->closed) << "on_closed came from within close";
    pair.client->close();
    ASSERT_TRUE(world().run_until([&] { return pair.at_client->closed; }));
    EXPECT_EQ(pair.at_client->reason.code, ErrorCode::kCancelled);
    world().settle();
    EXPECT_EQ(pair.at_client->closed_count, 1);
    EXPECT_EQ(pair.at_server->closed_count, 1);
    const auto late = send(*pair.client, bytes_of("late"), {});
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::kPeerLost);
}

TEST_P(TransportConformance, EveryDoneComesOnceWhenWeClose) {
    Limits limits;
    limits.max_queued_frames = 8;
    Pair pair = connect(world(), limits);
    pair.client->start(pair.at_client);
    const auto payload = pattern(1U << 20, 1);
    Completions done;
    int sent = 0;
    for (int round = 0; round < 50; ++round) {  // until the queue is full for good
        while (send(*pair.client, {}, payload, &done))
            ++sent;
        world().settle();
        if (sent - done.ok == 8) break;
    }
    ASSERT_EQ(sent - done.ok, 8);
    int done_at_close = -1;
    pair.at_client->on_close = [&] { done_at_close = done.all(); };
    pair.client->close();
    EXPECT_TRUE(done.failed.empty()) << "done came from within close";
    ASSERT_TRUE(world().run_until([&] { return pair.at_client->closed; }));
    EXPECT_EQ(done_at_close, sent) << "on_closed is the last callback";
    ASSERT_EQ(done.failed.size(), 8U);
    EXPECT_EQ(done.failed[0].code, ErrorCode::kCancelled);
    world().settle();
    EXPECT_EQ(done.all(), sent);
}

TEST_P(TransportConformance, EveryDoneComesOnceWhenTheOtherSideCloses) {
    Limits limits;
    limits.max_queued_frames = 8;
    Pair pair = connect(world(), limits);
    pair.client->start(pair.at_client);
    const auto payload = pattern(1U << 20, 1);
    Completions done;
    int sent = 0;
    for (int round = 0; round < 50; ++round) {
        while (send(*pair.client, {}, payload, &done))
            ++sent;
        world().settle();
        if (sent - done.ok == 8) break;
    }
    pair.server->close();
    ASSERT_TRUE(world().run_until([&] { return pair.at_client->closed; }));
    EXPECT_EQ(pair.at_client->reason.code, ErrorCode::kPeerLost);
    EXPECT_EQ(done.all(), sent);
    ASSERT_EQ(done.failed.size(), 8U);
    EXPECT_EQ(done.failed[0].code, ErrorCode::kPeerLost);
    world().settle();
    EXPECT_EQ(done.all(), sent);
    EXPECT_EQ(pair.at_client->closed_count, 1);
}

TEST_P(TransportConformance, WithoutAReceiverAFailingWriteEndsIt) {
    Limits limits;
    limits.max_queued_frames = 2;
    Pair pair = connect(world(), limits);
    const auto payload = pattern(1U << 20, 1);
    Completions done;
    int sent = 0;
    for (int round = 0; round < 50; ++round) {
        while (send(*pair.client, {}, payload, &done))
            ++sent;
        world().settle();
        if (sent - done.ok == 2) break;
    }
    pair.server->close();
    ASSERT_TRUE(world().run_until([&] { return done.all() == sent; }));
    EXPECT_EQ(done.failed.size(), 2U);
    EXPECT_FALSE(pair.at_client->closed);
    pair.client->start(pair.at_client);  // whoever comes late hears of it
    ASSERT_TRUE(world().run_until([&] { return pair.at_client->closed; }));
    EXPECT_EQ(pair.at_client->reason.code, ErrorCode::kPeerLost);
}

TEST_P(TransportConformance, AnErrorOfOnHeadCloses) {
    Pair pair = connect(world());
    pair.start();
    pair.at_server->refuse_head = true;
    const auto text = bytes_of("text");
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(send(*pair.client, text, text));
    ASSERT_TRUE(
        world().run_until([&] { return pair.at_server->closed && pair.at_client->closed; }));
    EXPECT_EQ(pair.at_server->heads, 1U);
    EXPECT_EQ(pair.at_server->count, 0U);
    EXPECT_EQ(pair.at_server->reason.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(pair.at_server->reason.message, HasSubstr("not this head"));
    EXPECT_EQ(pair.at_client->reason.code, ErrorCode::kPeerLost);
}

TEST_P(TransportConformance, AnErrorOfOnFrameCloses) {
    Pair pair = connect(world());
    pair.start();
    pair.at_server->refuse_frame = true;
    const auto text = bytes_of("text");
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(send(*pair.client, text, {}));
    ASSERT_TRUE(
        world().run_until([&] { return pair.at_server->closed && pair.at_client->closed; }));
    EXPECT_EQ(pair.at_server->count, 1U);
    EXPECT_EQ(pair.at_server->reason.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(pair.at_server->reason.message, HasSubstr("not this frame"));
}

TEST_P(TransportConformance, ABufferOfTheWrongSizeCloses) {
    Pair pair = connect(world());
    pair.start();
    pair.at_server->wrong_space = true;
    ASSERT_TRUE(send(*pair.client, bytes_of("h"), bytes_of("payload")));
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->closed; }));
    EXPECT_EQ(pair.at_server->count, 0U);
    EXPECT_EQ(pair.at_server->reason.code, ErrorCode::kInternal);
}

TEST_P(TransportConformance, CloseFromWithinOnFrame) {
    Pair pair = connect(world());
    pair.start();
    pair.at_server->on_each = [&] {
        pair.server->close();
        EXPECT_FALSE(pair.at_server->closed);
    };
    const auto text = bytes_of("text");
    for (int i = 0; i < 3; ++i)
        ASSERT_TRUE(send(*pair.client, text, text));
    ASSERT_TRUE(
        world().run_until([&] { return pair.at_server->closed && pair.at_client->closed; }));
    EXPECT_EQ(pair.at_server->count, 1U);
    EXPECT_EQ(pair.at_server->reason.code, ErrorCode::kCancelled);
}

TEST_P(TransportConformance, LettingGoCloses) {
    Pair pair = connect(world());
    pair.start();
    // From within a callback, the hardest moment.
    pair.at_server->on_each = [&] { pair.server.reset(); };
    ASSERT_TRUE(send(*pair.client, bytes_of("x"), bytes_of("x")));
    ASSERT_TRUE(
        world().run_until([&] { return pair.at_server->closed && pair.at_client->closed; }));
    EXPECT_EQ(pair.at_server->reason.code, ErrorCode::kCancelled);
    EXPECT_EQ(pair.at_client->reason.code, ErrorCode::kPeerLost);
    EXPECT_EQ(pair.at_server.use_count(), 1) << "the connection lives on";
}

TEST_P(TransportConformance, ALateReceiverHearsOfTheEnd) {
    Pair pair = connect(world());
    ASSERT_TRUE(send(*pair.client, bytes_of("x"), {}));
    world().settle();
    pair.client->close();
    world().settle();
    pair.server->start(pair.at_server);
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->closed; }));
    EXPECT_EQ(pair.at_server->count, 1U);
    pair.client->start(pair.at_client);
    EXPECT_FALSE(pair.at_client->closed) << "on_closed came from within start";
    ASSERT_TRUE(world().run_until([&] { return pair.at_client->closed; }));
    EXPECT_EQ(pair.at_client->reason.code, ErrorCode::kCancelled);
}

TEST_P(TransportConformance, ALateCloserHearsWhatWasSaidBefore) {
    // Both talk; one says something and goes. The other, still writing, must get those last words.
    Pair pair = connect(world());
    pair.start();
    const auto text = bytes_of("report");
    Completions done;
    ASSERT_TRUE(send(*pair.server, bytes_of("why I go"), {}, &done));
    ASSERT_TRUE(world().run_until([&] { return done.ok == 1; }));
    pair.server->close();
    for (int i = 0; i < 20 && !pair.at_client->closed; ++i) {
        (void)send(*pair.client, text, text);
        world().step();
    }
    ASSERT_TRUE(world().run_until([&] { return pair.at_client->closed; }));
    ASSERT_EQ(pair.at_client->count, 1U);
    EXPECT_EQ(pair.at_client->frames[0].head, bytes_of("why I go"));
}

struct Dialled {
    int calls = 0;
    Error error;
};

Dialled dial_and_wait(World& world, const std::string& address, std::chrono::milliseconds timeout) {
    const auto dialled = std::make_shared<Dialled>();
    world.client().dial(address, {}, timeout, [dialled](const auto& made) {
        ++dialled->calls;
        if (!made) dialled->error = made.error();
    });
    EXPECT_EQ(dialled->calls, 0) << "the handler came from within dial";
    EXPECT_TRUE(world.run_until([&] { return dialled->calls > 0; }));
    world.settle();
    return *dialled;
}

TEST_P(TransportConformance, ARefusedDialNamesTheAddress) {
    const std::string address = world().refusing_address();
    const Dialled dialled = dial_and_wait(world(), address, 10s);
    EXPECT_EQ(dialled.calls, 1);
    EXPECT_EQ(dialled.error.code, ErrorCode::kPeerLost);
    EXPECT_THAT(dialled.error.message, HasSubstr(address));
}

TEST_P(TransportConformance, ADialWithoutAnswerTimesOut) {
    const std::string address = world().silent_address();
    const Dialled dialled = dial_and_wait(world(), address, 80ms);
    EXPECT_EQ(dialled.calls, 1);
    EXPECT_EQ(dialled.error.code, ErrorCode::kTimedOut);
    EXPECT_THAT(dialled.error.message, HasSubstr(address));
    EXPECT_THAT(dialled.error.message, HasSubstr("80 ms"));
}

TEST_P(TransportConformance, AnAddressThatIsNoneIsRefused) {
    for (const char* address : {"", "host", "host:", "host:port", "host:65536", "::1:80", "a:-1"}) {
        SCOPED_TRACE(address);
        const Dialled dialled = dial_and_wait(world(), address, 10s);
        EXPECT_EQ(dialled.calls, 1);
        EXPECT_EQ(dialled.error.code, ErrorCode::kInvalidArgument);
        EXPECT_THAT(dialled.error.message, HasSubstr(std::string("\"") + address + "\""));
        const auto listener = world().server().listen(address, {}, [](auto) {});
        ASSERT_FALSE(listener);
        EXPECT_EQ(listener.error().code, ErrorCode::kInvalidArgument);
    }
}

TEST_P(TransportConformance, TwoListenersCannotShareAnAddress) {
    auto first = world().server().listen(world().any_address(), {}, [](auto) {});
    ASSERT_TRUE(first);
    const auto second = world().server().listen((*first)->address(), {}, [](auto) {});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kResourceExhausted);
    EXPECT_THAT(second.error().message, HasSubstr((*first)->address()));
}

TEST_P(TransportConformance, AClosedListenerRefusesAndKeepsItsConnections) {
    Pair pair = connect(world());
    pair.start();
    const std::string address = pair.listener->address();
    pair.listener.reset();
    world().settle();
    const Dialled dialled = dial_and_wait(world(), address, 10s);
    EXPECT_EQ(dialled.error.code, ErrorCode::kPeerLost);
    ASSERT_TRUE(send(*pair.client, bytes_of("still"), {}));
    ASSERT_TRUE(world().run_until([&] { return pair.at_server->count == 1; }));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Every, TransportConformance,
                         ::testing::Values(WorldKind{"tcp", make_tcp_world},
                                           WorldKind{"tls", make_tls_world},
                                           WorldKind{"sim", make_sim_world}),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace potluck::transport
