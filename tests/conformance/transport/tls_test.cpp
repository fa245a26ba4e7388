// Who gets in, and who does not: strangers, other clusters, machines that are still to join.

#include "transport/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "tests/conformance/transport/end.h"
#include "tests/conformance/transport/tls_nodes.h"
#include "tests/support/run_until.h"
#include "transport/address.h"
#include "transport/tcp.h"

namespace potluck::transport {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using security::Role;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// A listener of the coordinator "one" and what came in by it.
class Tls : public ::testing::Test {
  protected:
    void listen(bool take_anonymous, std::chrono::milliseconds timeout = kHandshakeTimeout) {
        TlsOptions options{.credentials = test_credentials({Role::kCoordinator, {}})};
        options.handshake_timeout = timeout;
        if (take_anonymous)
            options.on_anonymous = [this](auto c) { anonymous_.emplace_back().take(std::move(c)); };
        auto made = make_tls_transport(loop_, std::move(options));
        ASSERT_TRUE(made) << made.error().message;
        server_ = std::move(*made);
        auto listener = server_->listen(
            "127.0.0.1:0", {}, [this](auto c) { accepted_.emplace_back().take(std::move(c)); });
        ASSERT_TRUE(listener) << listener.error().message;
        listener_ = std::move(*listener);
    }
    std::shared_ptr<End> dial(Transport& transport) {
        return dial_and_send(transport, listener_->address());
    }
    tcp::socket stranger() {
        tcp::socket socket(strangers_);
        socket.connect(
            {asio::ip::make_address("127.0.0.1"), parse_address(listener_->address())->port});
        return socket;
    }
    bool run_until(const std::function<bool()>& done) { return test::run_until(loop_, done); }
    /// The server lets go of this socket.
    bool cut_off(tcp::socket& socket) {
        socket.non_blocking(true);
        return run_until([&] {
            std::array<std::byte, 4096> bytes{};
            boost::system::error_code ec;
            socket.read_some(asio::buffer(bytes), ec);
            return ec && ec != asio::error::would_block;
        });
    }
    std::unique_ptr<Transport> worker(bool another = false) {
        return std::move(*make_tls_transport(
            loop_, {.credentials = test_credentials({Role::kWorker, "attic"}, another)}));
    }

    asio::io_context loop_;
    asio::io_context strangers_;
    std::unique_ptr<Transport> server_;
    std::unique_ptr<Listener> listener_;
    std::vector<End> accepted_;
    std::vector<End> anonymous_;
};

TEST_F(Tls, BothSidesKnowOneAnother) {
    listen(false);
    const auto transport = worker();
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return accepted_.size() == 1 && accepted_[0].recorder->count; }));
    EXPECT_EQ(accepted_[0].connection->identity(),
              (security::NodeIdentity{Role::kWorker, "attic"}));
    EXPECT_EQ(attempt->connection->identity().role, Role::kCoordinator);
}

TEST_F(Tls, AnotherClusterIsRefusedByBothSides) {
    listen(true);
    const auto transport = worker(true);
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return attempt->ended(); }));
    EXPECT_THAT(attempt->failure, HasSubstr("certificate"));
    EXPECT_TRUE(accepted_.empty());
    EXPECT_TRUE(anonymous_.empty());
}

TEST_F(Tls, AnotherClustersCertificateIsRefusedByTheServerAlone) {
    // A client that trusts anybody who shows our authority, with a certificate of another one.
    listen(true);
    auto credentials = test_credentials({Role::kWorker, "attic"}, true);
    credentials.ca = test_authority().certificate;
    const auto transport = std::move(*make_tls_transport(loop_, {.credentials = credentials}));
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return attempt->ended(); }));
    EXPECT_TRUE(accepted_.empty());
    EXPECT_TRUE(anonymous_.empty());
}

TEST_F(Tls, AnExpiredCertificateIsRefused) {
    listen(true);
    const auto long_ago = std::chrono::system_clock::now() - security::kNodeValidity - 48h;
    const auto credentials =
        security::issue(test_authority(), {Role::kWorker, "attic"}, long_ago).value();
    const auto transport = std::move(*make_tls_transport(loop_, {.credentials = credentials}));
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return attempt->ended(); }));
    EXPECT_THAT(attempt->recorder->reason.message, HasSubstr("expired"));
    EXPECT_TRUE(accepted_.empty());
    EXPECT_TRUE(anonymous_.empty());
}

TEST_F(Tls, WithoutACertificateNobodyIsLetIn) {
    listen(false);
    const auto transport = std::move(
        *make_joining_transport(loop_, *security::fingerprint(test_authority().certificate)));
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return attempt->ended(); }));
    EXPECT_TRUE(accepted_.empty());
}

TEST_F(Tls, AJoiningMachineIsTakenAsAnonymousOnly) {
    listen(true);
    const auto transport = std::move(
        *make_joining_transport(loop_, *security::fingerprint(test_authority().certificate)));
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return anonymous_.size() == 1 && anonymous_[0].recorder->count; }));
    EXPECT_EQ(anonymous_[0].connection->identity().role, Role::kUnknown);
    EXPECT_EQ(attempt->connection->identity().role, Role::kCoordinator);
    EXPECT_TRUE(accepted_.empty());
    // Its bounds are small.
    ASSERT_TRUE(send(*attempt->connection, pattern(kMaxAnonymousHeadBytes + 1, 1), {}));
    ASSERT_TRUE(run_until([&] { return anonymous_[0].recorder->closed; }));
    EXPECT_EQ(anonymous_[0].recorder->reason.code, ErrorCode::kCorrupt);
}

TEST_F(Tls, AJoiningMachineSpeaksToNoOtherAuthority) {
    listen(true);
    auto wrong = *security::fingerprint(test_authority().certificate);
    wrong[31] ^= 1;
    const auto transport = std::move(*make_joining_transport(loop_, wrong));
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return attempt->ended(); }));
    EXPECT_EQ(attempt->connection, nullptr) << "a connection, over which a secret might go";
    EXPECT_TRUE(anonymous_.empty());
}

TEST_F(Tls, PlainTextGetsNothingAndDisturbsNobody) {
    listen(true);
    const auto transport = worker();
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return accepted_.size() == 1 && accepted_[0].recorder->count; }));
    for (const char* text : {"GET / HTTP/1.1\r\n\r\n", "PLKT\x02\0\0\0", "\x16\x03\x01\xff\xff"}) {
        auto socket = stranger();
        asio::write(socket, asio::buffer(std::string(text) + std::string(100, 'x')));
        EXPECT_TRUE(cut_off(socket));
    }
    ASSERT_TRUE(send(*attempt->connection, bytes_of("again"), {}));
    ASSERT_TRUE(run_until([&] { return accepted_[0].recorder->count == 2; }));
    EXPECT_EQ(accepted_.size(), 1U);
    EXPECT_TRUE(anonymous_.empty());
}

TEST_F(Tls, WhoSaysNothingIsCutOffAndTheNumberOfSuchIsBounded) {
    listen(true, 300ms);
    std::vector<tcp::socket> silent;
    for (std::size_t i = 0; i < kMaxHandshakesPerHost; ++i)
        silent.push_back(stranger());
    auto one_more = stranger();
    EXPECT_TRUE(cut_off(one_more));
    for (auto& socket : silent)
        EXPECT_TRUE(cut_off(socket));
    const auto transport = worker();
    const auto attempt = dial(*transport);
    ASSERT_TRUE(run_until([&] { return accepted_.size() == 1; }));
}

TEST_F(Tls, AFlippedBitEndsTheConnection) {
    // A man in the middle who passes everything on but one bit of the second frame.
    listen(false);
    tcp::acceptor middle(loop_, {asio::ip::make_address("127.0.0.1"), 0});
    tcp::socket near(loop_);
    tcp::socket far(loop_);
    middle.async_accept(near, [](const auto&) {});
    far.connect({asio::ip::make_address("127.0.0.1"), parse_address(listener_->address())->port});
    const auto transport = worker();
    std::shared_ptr<Connection> dialled;
    transport->dial("127.0.0.1:" + std::to_string(middle.local_endpoint().port()), {}, 10s,
                    [&](auto made) { dialled = made.value_or(nullptr); });
    bool flip = false;
    std::array<char, 4096> up{};
    std::array<char, 4096> down{};
    const auto pass = [&](tcp::socket& from, tcp::socket& to, auto& bytes) {
        boost::system::error_code ec;
        if (!from.is_open() || from.available(ec) == 0) return;
        const std::size_t n = from.read_some(asio::buffer(bytes), ec);
        if (flip) bytes[n / 2] = static_cast<char>(bytes[n / 2] ^ 1);
        asio::write(to, asio::buffer(bytes.data(), n), ec);
    };
    const auto run = [&](const std::function<bool()>& done) {
        return run_until([&] {
            pass(near, far, up);
            pass(far, near, down);
            return done();
        });
    };
    ASSERT_TRUE(run([&] { return dialled != nullptr; }));
    ASSERT_TRUE(send(*dialled, bytes_of("first"), {}));
    ASSERT_TRUE(run([&] { return accepted_.size() == 1 && accepted_[0].recorder->count == 1; }));
    flip = true;
    ASSERT_TRUE(send(*dialled, bytes_of("second"), {}));
    ASSERT_TRUE(run([&] { return accepted_[0].recorder->closed; }));
    EXPECT_EQ(accepted_[0].recorder->count, 1U);
}

}  // namespace
}  // namespace potluck::transport
