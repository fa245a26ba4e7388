// A flood of damaged frames against the open doors of a cluster while an answer runs: strangers
// without a certificate, plain sockets, invented tokens. Nobody is disturbed, and it is counted.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include "base/rng.h"
#include "tests/cluster/home.h"
#include "tests/support/run_until.h"
#include "transport/address.h"
#include "worker/service/enrol.h"

namespace potluck::test {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Bytes = std::vector<std::byte>;

struct Counts {
    std::atomic<std::uint64_t> tls_frames = 0;
    std::atomic<std::uint64_t> plain_frames = 0;
    std::atomic<std::uint64_t> tokens = 0;
    std::atomic<std::uint64_t> visits = 0;   ///< of the desk and the doors, with them
    std::atomic<std::uint64_t> answers = 0;  ///< frames that the other side sent beyond a greeting
};

/// Frames of the fuzz programs' corpora, with damage that a seed decides.
class FrameSource {
  public:
    explicit FrameSource(std::uint64_t seed) : seed_(seed) {
        for (const auto& entry : std::filesystem::directory_iterator(
                 std::string(POTLUCK_SOURCE_DIR) + "/tests/fuzz/corpus/frame")) {
            std::ifstream in(entry.path(), std::ios::binary);
            const std::string text(std::istreambuf_iterator<char>(in), {});
            const auto bytes = std::as_bytes(std::span(text));
            frames_.emplace_back(bytes.begin(), bytes.end());
        }
        std::sort(frames_.begin(), frames_.end());
    }
    Bytes next() {
        Bytes frame = frames_[below(frames_.size())];
        for (std::size_t n = below(4); n > 0 && !frame.empty(); --n)
            frame[below(frame.size())] ^= static_cast<std::byte>(1U << below(8));
        if (below(8) == 0) frame.resize(below(frame.size() + 1));
        return frame;
    }
    std::size_t below(std::size_t bound) {
        return static_cast<std::size_t>(uniform(seed_, drawn_++) * static_cast<double>(bound));
    }

  private:
    std::uint64_t seed_;
    std::uint64_t drawn_ = 0;
    std::vector<Bytes> frames_;
};

/// Hears whatever comes.
class Listener final : public transport::Receiver {
  public:
    explicit Listener(Counts& counts) : counts_(counts) {}
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t) override {
        return error(ErrorCode::kCorrupt, "a payload");
    }
    Status on_frame(std::span<const std::byte>, std::span<std::byte>) override {
        ++counts_.answers;
        return {};
    }
    void on_closed(const Error&) override { closed = true; }
    bool closed = false;

  private:
    Counts& counts_;
};

/// One visit at the desk, as a machine that joins, with a dozen damaged frames.
void visit(const std::string& address, const security::Fingerprint& authority, FrameSource& frames,
           Counts& counts) {
    asio::io_context loop(1);
    const auto transport = std::move(*transport::make_joining_transport(loop, authority));
    const auto heard = std::make_shared<Listener>(counts);
    std::shared_ptr<transport::Connection> connection;
    bool done = false;
    transport->dial(address, {}, std::chrono::seconds(5), [&](auto made) {
        done = true;
        if (made) connection = std::move(*made);
    });
    run_until(loop, [&] { return done; });
    if (!connection) return;
    ++counts.visits;
    connection->start(heard);
    for (int i = 0; i < 12; ++i)
        if (connection->send(frames.next(), {}, {})) ++counts.tls_frames;
    run_until(loop, [&] { return heard->closed; });
    EXPECT_TRUE(heard->closed) << "it would go on listening";
    connection.reset();
    loop.restart();
    loop.poll();
}

/// Frames in plain text, a hundred at once.
void shout(const std::string& address, FrameSource& frames, Counts& counts) {
    asio::io_context loop(1);
    tcp::socket socket(loop);
    boost::system::error_code ec;
    const auto to = transport::parse_address(address);
    socket.connect({asio::ip::make_address(to->host), to->port}, ec);
    std::string all;
    for (int i = 0; i < 100; ++i) {
        const Bytes frame = frames.next();
        all += "PLKT";
        for (int b = 0; b < 4; ++b)
            all += static_cast<char>(frame.size() >> (8 * b));
        all.append(8, '\0');
        all.append(reinterpret_cast<const char*>(frame.data()), frame.size());
    }
    asio::write(socket, asio::buffer(all), ec);
    counts.plain_frames += 100;
    ++counts.visits;
    std::size_t heard = 0;
    for (std::array<char, 4096> buffer{}; !ec;)
        heard += socket.read_some(asio::buffer(buffer), ec);
    EXPECT_LT(heard, 64U) << "more than an alert";
}

/// Asks for a certificate with a secret that nobody gave out.
void invent(const std::string& address, const security::Fingerprint& authority, FrameSource& frames,
            Counts& counts) {
    asio::io_context loop(1);
    security::JoinToken token{.ca = authority, .address = address};
    for (std::size_t i = 0; i < security::kSecretBytes; ++i)
        token.secret += static_cast<char>(frames.below(256));
    token.expires = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()) +
                    std::chrono::hours(1);
    bool done = false;
    worker::enrol(loop, token, "intruder", [&](Result<security::WorkerState> got) {
        done = true;
        EXPECT_FALSE(got) << "a certificate for an invented token";
    });
    run_until(loop, [&] { return done; });
    EXPECT_TRUE(done);
    ++counts.tokens;
    ++counts.visits;
    loop.restart();
    loop.poll();
}

TEST(Intruders, GetNothingAndDisturbNobody) {
    Home home({.workers = 2});
    home.add_worker("attic", {.pace = "2ms"});
    home.add_worker("cellar", {.pace = "2ms"});
    ASSERT_TRUE(home.run_until_ready()) << home.status();
    const std::string undisturbed = home.complete("import os\n", 400);
    ASSERT_FALSE(undisturbed.starts_with("error")) << undisturbed;
    const auto stages = home.stages();

    Counts counts;
    std::atomic<bool> stop = false;
    const std::string desk = home.coordinator_address();
    const std::string data = home.address_of("attic");
    const auto authority = *security::fingerprint(home.authority().certificate);
    testing::internal::CaptureStderr();
    std::vector<std::thread> intruders;
    intruders.emplace_back([&] {
        FrameSource frames(1);
        while (!stop) {
            visit(desk, authority, frames, counts);
            invent(desk, authority, frames, counts);
        }
    });
    intruders.emplace_back([&] {
        FrameSource frames(2);
        while (!stop) {
            shout(desk, frames, counts);
            shout(data, frames, counts);
        }
    });
    const std::string disturbed = home.complete("import os\n", 400);
    stop = true;
    // Their last visits end while the cluster goes on.
    std::atomic<bool> gone = false;
    std::thread join([&] {
        for (auto& intruder : intruders)
            intruder.join();
        gone = true;
    });
    home.run_until([&] { return gone.load(); });
    join.join();
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(disturbed, undisturbed);
    EXPECT_EQ(home.stages(), stages) << "the plan changed";
    EXPECT_EQ(home.complete("import os\n", 400), undisturbed);
    EXPECT_GT(counts.tls_frames, 0U);
    EXPECT_GT(counts.plain_frames, 0U);
    EXPECT_GT(counts.tokens, 0U);
    EXPECT_GE(home.refused() + home.refused_by("attic"), counts.visits) << "each is counted";
    // Doors and desk speak once for one host, however often they turn it away.
    const auto lines = static_cast<std::size_t>(std::count(said.begin(), said.end(), '\n'));
    EXPECT_LE(lines, 8U) << said;
    std::printf(
        "%llu frames over TLS, %llu in plain text, %llu invented tokens; %zu lines logged\n",
        static_cast<unsigned long long>(counts.tls_frames),
        static_cast<unsigned long long>(counts.plain_frames),
        static_cast<unsigned long long>(counts.tokens), lines);
}

}  // namespace
}  // namespace potluck::test
