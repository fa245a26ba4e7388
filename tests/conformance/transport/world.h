#pragma once

// What the suite needs of a transport: two transports that reach one another, a way to let time
// pass, and addresses that misbehave. One implementation per transport; the cases know none of
// them.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "transport/api.h"

namespace potluck::transport {

class World {
  public:
    virtual ~World() = default;
    virtual Transport& server() = 0;
    virtual Transport& client() = 0;
    /// What to listen on at the server to get a free port.
    virtual std::string any_address() const = 0;
    /// Where nobody listens, and where nobody answers.
    virtual std::string refusing_address() = 0;
    virtual std::string silent_address() = 0;
    /// Makes one step of everything; false if it cannot (yet).
    virtual bool step() = 0;
    /// Steps until `done` or a generous bound.
    virtual bool run_until(const std::function<bool()>& done) = 0;
    /// Steps until nothing more can come of what has happened so far.
    virtual void settle() = 0;
};

struct WorldKind {
    const char* name;
    std::unique_ptr<World> (*make)();
};
inline void PrintTo(const WorldKind& kind, std::ostream* out) {
    *out << kind.name;
}
std::unique_ptr<World> make_tcp_world();
std::unique_ptr<World> make_tls_world();
std::unique_ptr<World> make_sim_world();

/// Keeps every frame; answers from its members decide what it does.
class Recorder : public Receiver {
  public:
    struct Frame {
        std::vector<std::byte> head;
        std::vector<std::byte> payload;
    };

    Result<std::span<std::byte>> on_head(std::span<const std::byte> head,
                                         std::size_t payload_bytes) override {
        ++heads;
        EXPECT_FALSE(closed) << "a callback after on_closed";
        if (refuse_head) return error(ErrorCode::kInvalidArgument, "not this head");
        last_head.assign(head.begin(), head.end());
        space.assign(payload_bytes + (wrong_space ? 1 : 0), std::byte{0xEE});
        return std::span<std::byte>(space);
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override {
        EXPECT_FALSE(closed) << "a callback after on_closed";
        if (!payload.empty()) {
            EXPECT_EQ(payload.data(), space.data()) << "not the receiver's buffer";
            EXPECT_TRUE(std::equal(head.begin(), head.end(), last_head.begin(), last_head.end()));
        }
        if (keep) frames.push_back({{head.begin(), head.end()}, {payload.begin(), payload.end()}});
        ++count;
        if (on_each) on_each();
        if (refuse_frame) return error(ErrorCode::kInvalidArgument, "not this frame");
        return {};
    }
    void on_closed(const Error& why) override {
        ++closed_count;
        closed = true;
        reason = why;
        if (on_close) on_close();
    }

    bool refuse_head = false;
    bool refuse_frame = false;
    bool wrong_space = false;
    bool keep = true;
    std::function<void()> on_each;
    std::function<void()> on_close;

    std::vector<Frame> frames;
    std::size_t count = 0;
    std::size_t heads = 0;
    std::vector<std::byte> last_head;
    std::vector<std::byte> space;
    bool closed = false;
    int closed_count = 0;
    Error reason;
};

std::vector<std::byte> bytes_of(std::string_view text);
/// `n` bytes that depend on their place and on `seed`.
std::vector<std::byte> pattern(std::size_t n, std::uint32_t seed);

/// Both ends of a connection, each with a recorder that is not started yet.
struct Pair {
    std::unique_ptr<Listener> listener;
    std::shared_ptr<Connection> client;
    std::shared_ptr<Connection> server;
    std::shared_ptr<Recorder> at_client = std::make_shared<Recorder>();
    std::shared_ptr<Recorder> at_server = std::make_shared<Recorder>();

    void start() {
        client->start(at_client);
        server->start(at_server);
    }
};
Pair connect(World& world, const Limits& client_limits = {}, const Limits& server_limits = {});

/// Sends one frame with a copy of `payload` in one piece; counts its completion in `done`.
struct Completions {
    int ok = 0;
    std::vector<Error> failed;
    int all() const { return ok + static_cast<int>(failed.size()); }
};
Status send(Connection& connection, std::span<const std::byte> head,
            std::span<const std::byte> payload, Completions* done = nullptr);

class TransportConformance : public ::testing::TestWithParam<WorldKind> {
  protected:
    void SetUp() override { world_ = GetParam().make(); }
    World& world() { return *world_; }

  private:
    std::unique_ptr<World> world_;
};

}  // namespace potluck::transport
