#include "tests/conformance/transport/world.h"

namespace potluck::transport {

std::vector<std::byte> bytes_of(std::string_view text) {
    std::vector<std::byte> bytes;
    for (const char c : text)
        bytes.push_back(static_cast<std::byte>(c));
    return bytes;
}

std::vector<std::byte> pattern(std::size_t n, std::uint32_t seed) {
    std::vector<std::byte> bytes(n);
    std::uint32_t state = seed * 2654435761U + 1;
    for (std::byte& b : bytes) {
        state = state * 1664525U + 1013904223U;
        b = static_cast<std::byte>(state >> 24);
    }
    return bytes;
}

Pair connect(World& world, const Limits& client_limits, const Limits& server_limits) {
    Pair pair;
    auto listener = world.server().listen(
        world.any_address(), server_limits,
        [&pair](std::shared_ptr<Connection> accepted) { pair.server = std::move(accepted); });
    if (!listener) {
        ADD_FAILURE() << listener.error().message;
        return pair;
    }
    pair.listener = std::move(*listener);
    std::string failure;
    world.client().dial(pair.listener->address(), client_limits, std::chrono::seconds(10),
                        [&](Result<std::shared_ptr<Connection>> made) {
                            if (made) {
                                pair.client = std::move(*made);
                            } else {
                                failure = made.error().message;
                            }
                        });
    const bool connected =
        world.run_until([&] { return (pair.client && pair.server) || !failure.empty(); });
    EXPECT_TRUE(connected && failure.empty()) << "could not connect " << failure;
    // The handler refers to a local variable.
    pair.listener->close();
    return pair;
}

Status send(Connection& connection, std::span<const std::byte> head,
            std::span<const std::byte> payload, Completions* done) {
    // Freed when the transport lets go of `done`, so that a later look at it is found by
    // sanitizers.
    const auto kept =
        std::make_shared<const std::vector<std::byte>>(payload.begin(), payload.end());
    const std::span<const std::byte> pieces[] = {*kept};
    return connection.send(head, pieces, [done, kept](const Status& status) {
        if (done == nullptr) return;
        if (status) {
            ++done->ok;
        } else {
            done->failed.push_back(status.error());
        }
    });
}

}  // namespace potluck::transport
