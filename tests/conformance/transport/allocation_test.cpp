// A decode step crosses a link every few milliseconds for hours: a warm TCP connection allocates
// nothing per frame.

#include <gtest/gtest.h>

#include <array>
#include <functional>

#include <boost/asio/io_context.hpp>

#include "tests/conformance/transport/world.h"
#include "tests/support/counting_new.h"
#include "transport/tcp.h"

namespace potluck::transport {
namespace {

/// Answers every frame with its payload, in the same memory, until `left` is used up.
class Echo final : public Receiver {
  public:
    Echo(Connection& connection, int left) : connection_(connection), left_(left) {}
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t n) override {
        return std::span<std::byte>(space_).first(n);
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override {
        if (on_each) on_each(left_);
        return left_ > 0 ? reply(head, payload) : Status{};
    }
    void on_closed(const Error&) override {}

    Status reply(std::span<const std::byte> head, std::span<const std::byte> payload) {
        --left_;
        const std::span<const std::byte> pieces[] = {payload};
        return connection_.send(head, pieces, [this](const Status&) { ++done; });
    }
    int left() const { return left_; }
    int done = 0;
    std::function<void(int left)> on_each;

  private:
    Connection& connection_;
    int left_;
    std::array<std::byte, 100000> space_{};
};

TEST(TcpAllocation, AWarmFrameAllocatesNothing) {
    boost::asio::io_context loop;
    const auto transport = make_tcp_transport(loop);
    std::shared_ptr<Connection> server;
    std::shared_ptr<Connection> client;
    const auto listener = transport->listen("127.0.0.1:0", {}, [&](auto c) { server = c; });
    ASSERT_TRUE(listener);
    transport->dial((*listener)->address(), {}, std::chrono::seconds(10),
                    [&](auto made) { client = made.value_or(nullptr); });
    const auto run_until = [&](const auto& done) {
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
        while (!done() && std::chrono::steady_clock::now() < end)
            loop.run_one_for(std::chrono::milliseconds(100));
        return done();
    };
    ASSERT_TRUE(run_until([&] { return server && client; }));

    constexpr int rounds = 200;
    constexpr int warm = 20;
    const auto at_client = std::make_shared<Echo>(*client, rounds);
    const auto at_server = std::make_shared<Echo>(*server, rounds);
    client->start(at_client);
    server->start(at_server);
    const auto head = pattern(192, 1);
    const auto payload = pattern(70000, 2);  // more than one reading buffer
    ASSERT_TRUE(at_client->reply(head, payload));
    // The loop runs in one piece, as in a process: asio keeps memory for handlers while it runs.
    std::size_t before = 0;
    std::size_t after = 0;
    at_server->on_each = [&](int left) {
        if (left == rounds - warm) before = allocations();
        if (left == 10) {
            after = allocations();
            loop.stop();
        }
    };
    loop.run_for(std::chrono::seconds(30));
    ASSERT_GT(after, 0U) << "too slow";
    EXPECT_EQ(after - before, 0U) << "in " << rounds - warm - 10 << " round trips";
}

}  // namespace
}  // namespace potluck::transport
