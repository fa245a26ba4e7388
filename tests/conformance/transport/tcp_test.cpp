// What only TCP has: bytes of strangers, the layout of the stream, addresses of real machines.

#include "transport/tcp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include "tests/conformance/transport/world.h"
#include "tests/support/run_until.h"
#include "transport/address.h"

namespace potluck::transport {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// A listener of ours and whoever connects to it with a bare socket.
class TcpStream : public ::testing::Test {
  protected:
    void SetUp() override {
        Limits limits;
        limits.max_payload_bytes = 1U << 20;
        auto listener = transport_->listen("127.0.0.1:0", limits, [this](auto connection) {
            recorders_.push_back(std::make_shared<Recorder>());
            connection->start(recorders_.back());
            accepted_.push_back(std::move(connection));
        });
        ASSERT_TRUE(listener) << listener.error().message;
        listener_ = std::move(*listener);
    }
    tcp::socket stranger() {
        const auto parsed = parse_address(listener_->address());
        tcp::socket socket(strangers_);
        socket.connect({asio::ip::make_address("127.0.0.1"), parsed->port});
        return socket;
    }
    bool run_until(const std::function<bool()>& done) { return test::run_until(loop_, done); }
    static void write(tcp::socket& socket, const std::vector<std::byte>& bytes) {
        asio::write(socket, asio::buffer(bytes));
    }

    asio::io_context loop_;
    asio::io_context strangers_;
    std::unique_ptr<Transport> transport_ = make_tcp_transport(loop_);
    std::unique_ptr<Listener> listener_;
    std::vector<std::shared_ptr<Connection>> accepted_;
    std::vector<std::shared_ptr<Recorder>> recorders_;
};

/// "PLKT", a head of 2 bytes, a payload of 3.
std::vector<std::byte> small_frame() {
    return bytes_of(std::string_view("PLKT\x02\0\0\0\x03\0\0\0\0\0\0\0hdpay", 21));
}

TEST_F(TcpStream, TheLayoutOfTheStream) {
    auto socket = stranger();
    write(socket, small_frame());
    ASSERT_TRUE(run_until([&] { return !recorders_.empty() && recorders_[0]->count == 1; }));
    EXPECT_EQ(recorders_[0]->frames[0].head, bytes_of("hd"));
    EXPECT_EQ(recorders_[0]->frames[0].payload, bytes_of("pay"));
    // And what we write is the same.
    ASSERT_TRUE(send(*accepted_[0], bytes_of("hd"), bytes_of("pay")));
    loop_.restart();
    loop_.poll();
    std::vector<std::byte> received(small_frame().size());
    asio::read(socket, asio::buffer(received));
    EXPECT_EQ(received, small_frame());
}

TEST_F(TcpStream, ByteByByte) {
    auto socket = stranger();
    socket.set_option(tcp::no_delay(true));
    for (int round = 0; round < 2; ++round) {
        for (const std::byte b : small_frame()) {
            write(socket, {b});
            loop_.restart();
            loop_.run_one_for(10ms);
        }
    }
    ASSERT_TRUE(run_until([&] { return !recorders_.empty() && recorders_[0]->count == 2; }));
    EXPECT_EQ(recorders_[0]->frames[1].payload, bytes_of("pay"));
}

TEST_F(TcpStream, GarbageClosesOnlyItsConnection) {
    auto good = stranger();
    write(good, small_frame());
    ASSERT_TRUE(run_until([&] { return !recorders_.empty() && recorders_[0]->count == 1; }));
    auto bad = stranger();
    write(bad, bytes_of("GET / HTTP/1.1\r\nHost: potluck\r\n\r\n"));
    ASSERT_TRUE(run_until([&] { return recorders_.size() == 2 && recorders_[1]->closed; }));
    EXPECT_EQ(recorders_[1]->reason.code, ErrorCode::kCorrupt);
    EXPECT_THAT(recorders_[1]->reason.message, HasSubstr("does not begin a frame"));
    EXPECT_THAT(recorders_[1]->reason.message, HasSubstr(accepted_[1]->peer()));
    write(good, small_frame());
    ASSERT_TRUE(run_until([&] { return recorders_[0]->count == 2; }));
    EXPECT_FALSE(recorders_[0]->closed);
}

TEST_F(TcpStream, ClaimsAreCheckedBeforeAnythingIsReserved) {
    for (const std::string_view claim :
         {std::string_view("PLKT\xFF\xFF\xFF\xFF\0\0\0\0\0\0\0\0", 16),
          std::string_view("PLKT\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16),
          std::string_view("PLKT\0\0\0\0\x01\0\x10\0\0\0\0\0", 16)}) {
        const std::size_t index = recorders_.size();
        auto socket = stranger();
        write(socket, bytes_of(claim));
        ASSERT_TRUE(
            run_until([&] { return recorders_.size() > index && recorders_[index]->closed; }));
        EXPECT_EQ(recorders_[index]->reason.code, ErrorCode::kCorrupt);
        EXPECT_THAT(recorders_[index]->reason.message, HasSubstr("above the bound"));
        EXPECT_EQ(recorders_[index]->heads, 0U);
    }
}

TEST_F(TcpStream, TheEndInTheMiddleOfAFrameIsSaid) {
    const auto whole = small_frame();
    for (std::size_t cut = 1; cut < whole.size(); ++cut) {
        const std::size_t index = recorders_.size();
        {
            auto socket = stranger();
            write(socket, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(cut)});
        }
        ASSERT_TRUE(
            run_until([&] { return recorders_.size() > index && recorders_[index]->closed; }));
        EXPECT_EQ(recorders_[index]->count, 0U);
        EXPECT_EQ(recorders_[index]->reason.code, ErrorCode::kPeerLost);
        EXPECT_THAT(recorders_[index]->reason.message, HasSubstr("in the middle of a frame"));
    }
}

TEST_F(TcpStream, ATransportMayGoBeforeItsConnections) {
    auto socket = stranger();
    ASSERT_TRUE(run_until([&] { return accepted_.size() == 1; }));
    transport_.reset();
    write(socket, small_frame());
    ASSERT_TRUE(run_until([&] { return recorders_[0]->count == 1; }));
}

TEST_F(TcpStream, TheLoopMayGoWithWorkPending) {
    // A dial and a connection in progress are let go of with the loop; nothing leaks or is called.
    auto loop = std::make_unique<asio::io_context>();
    auto transport = make_tcp_transport(*loop);
    const auto recorder = std::make_shared<Recorder>();
    int calls = 0;
    transport->dial(listener_->address(), {}, 10s, [&](auto) { ++calls; });
    transport->dial("localhost:9", {}, 10s, [&](auto) { ++calls; });
    transport.reset();
    loop.reset();
    EXPECT_EQ(calls, 0);
}

TEST_F(TcpStream, NamesAreResolved) {
    // "localhost" is in every hosts file.
    const auto port = parse_address(listener_->address())->port;
    std::shared_ptr<Connection> dialled;
    Error failure;
    transport_->dial("localhost:" + std::to_string(port), {}, 10s, [&](auto made) {
        if (made) {
            dialled = *made;
        } else {
            failure = made.error();
        }
    });
    ASSERT_TRUE(run_until([&] { return dialled != nullptr || !failure.message.empty(); }));
    EXPECT_NE(dialled, nullptr) << failure.message;
}

TEST(TcpTransport, ListensOnAllAddressesWithoutAHost) {
    asio::io_context loop;
    const auto transport = make_tcp_transport(loop);
    const auto listener = transport->listen(":0", {}, [](auto) {});
    ASSERT_TRUE(listener) << listener.error().message;
    EXPECT_THAT((*listener)->address(), HasSubstr("0.0.0.0:"));
}

TEST(Address, IsParsedAndWritten) {
    EXPECT_EQ(parse_address("10.0.0.7:7000").value(), (HostPort{"10.0.0.7", 7000}));
    EXPECT_EQ(parse_address("[fd00::7]:65535").value(), (HostPort{"fd00::7", 65535}));
    EXPECT_EQ(parse_address(":0").value(), (HostPort{"", 0}));
    EXPECT_EQ(to_string(HostPort{"fd00::7", 1}), "[fd00::7]:1");
    EXPECT_EQ(to_string(HostPort{"attic", 1}), "attic:1");
    for (const char* bad : {"fd00::7:1", "a:b:1", "[a:1", "a]:1", "a: 1", "a:1 ", "a:+1", "a"})
        EXPECT_FALSE(parse_address(bad)) << bad;
}

}  // namespace
}  // namespace potluck::transport
