// A decode step crosses a link every few milliseconds for hours: a warm TCP connection allocates
// nothing per frame.

#include <gtest/gtest.h>

#include <array>

#include <boost/asio/io_context.hpp>

#include "tests/support/counting_new.h"
#include "transport/tcp.h"
#include "world.h"

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
    ASSERT_TRUE(run_until([&] { return at_server->left() == rounds - warm; }));
    const std::size_t before = allocations();
    ASSERT_TRUE(run_until([&] { return at_server->left() == 10; }));
    EXPECT_EQ(allocations() - before, 0U) << "in " << rounds - warm - 10 << " round trips";
}

}  // namespace
}  // namespace potluck::transport
