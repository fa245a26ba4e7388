// A decode step crosses a link every few milliseconds for hours: a warm connection allocates
// nothing per frame. Over TLS OpenSSL itself takes two small pieces per record (its packet
// writer's); that there is no more is tested, too.

#include <gtest/gtest.h>
#include <openssl/crypto.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>

#include <boost/asio/io_context.hpp>

#include "tests/conformance/transport/tls_nodes.h"
#include "tests/conformance/transport/world.h"
#include "tests/support/counting_new.h"
#include "tests/support/run_until.h"
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

constexpr std::size_t kOpensslPerRecord = 2;
constexpr std::size_t kOpensslBytes = 64;  ///< each at most
std::atomic<std::size_t> openssl_calls{0};
std::atomic<std::size_t> openssl_large{0};

void count(std::size_t bytes) {
    openssl_calls.fetch_add(1, std::memory_order_relaxed);
    if (bytes > kOpensslBytes) openssl_large.fetch_add(1, std::memory_order_relaxed);
}

void* counted_malloc(std::size_t bytes, const char*, int) {
    count(bytes);
    return std::malloc(bytes);
}
void* counted_realloc(void* memory, std::size_t bytes, const char*, int) {
    count(bytes);
    return std::realloc(memory, bytes);
}
void plain_free(void* memory, const char*, int) {
    std::free(memory);
}
/// Must come before OpenSSL's first allocation.
const bool openssl_is_counted =
    CRYPTO_set_mem_functions(counted_malloc, counted_realloc, plain_free) == 1;

class Allocation
    : public ::testing::TestWithParam<std::unique_ptr<Transport> (*)(boost::asio::io_context&)> {};

TEST_P(Allocation, AWarmFrameAllocatesNothing) {
    ASSERT_TRUE(openssl_is_counted);
    boost::asio::io_context loop;
    const auto transport = GetParam()(loop);
    std::shared_ptr<Connection> server;
    std::shared_ptr<Connection> client;
    const auto listener = transport->listen("127.0.0.1:0", {}, [&](auto c) { server = c; });
    ASSERT_TRUE(listener);
    transport->dial((*listener)->address(), {}, std::chrono::seconds(10),
                    [&](auto made) { client = made.value_or(nullptr); });
    ASSERT_TRUE(test::run_until(loop, [&] { return server && client; }));

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
    struct Counts {
        std::size_t ours = 0, openssl = 0, large = 0;
    };
    const auto counted = [] { return Counts{allocations(), openssl_calls, openssl_large}; };
    Counts before;
    Counts after;
    at_server->on_each = [&](int left) {
        if (left == rounds - warm) before = counted();
        if (left == 10) {
            after = counted();
            loop.stop();
        }
    };
    loop.run_for(std::chrono::seconds(30));
    ASSERT_GT(after.ours, 0U) << "too slow";
    const std::size_t round_trips = rounds - warm - 10;
    EXPECT_EQ(after.ours - before.ours, 0U) << "in " << round_trips << " round trips";
    EXPECT_EQ(after.large - before.large, 0U);
    // There and back, encrypted and decrypted.
    const std::size_t records = 4 * ((head.size() + payload.size()) / 16384 + 1);
    EXPECT_LE(after.openssl - before.openssl, round_trips * records * kOpensslPerRecord);
}

INSTANTIATE_TEST_SUITE_P(Every, Allocation,
                         ::testing::Values(make_tcp_transport, make_test_tls_transport),
                         [](const auto& kind) { return kind.index == 0 ? "tcp" : "tls"; });

}  // namespace
}  // namespace potluck::transport
