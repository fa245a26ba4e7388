#pragma once

// Two hosts of a simulated network and a connection between them.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <utility>

#include "tests/conformance/transport/world.h"
#include "transport/sim.h"

namespace potluck::transport {

/// Two hosts, "a" dials "b".
struct TwoHosts {
    explicit TwoHosts(const SimOptions& options = {}) : network(options) {
        auto listened = b->listen("b:7000", limits, [this](auto connection) {
            at_b = std::make_shared<Recorder>();
            server = std::move(connection);
            server->start(at_b);
        });
        EXPECT_TRUE(listened);
        listener = std::move(*listened);
    }
    void dial() {
        a->dial("b:7000", limits, std::chrono::seconds(1), [this](auto made) {
            ++answers;
            if (!made) {
                failure = made.error();
                return;
            }
            at_a = std::make_shared<Recorder>();
            client = std::move(*made);
            client->start(at_a);
        });
    }
    void connect() {
        dial();
        network.run_for(std::chrono::seconds(1));
        ASSERT_TRUE(client && server) << failure.message;
    }

    SimNetwork network;
    Limits limits;
    std::unique_ptr<Transport> a = network.transport("a");
    std::unique_ptr<Transport> b = network.transport("b");
    std::unique_ptr<Listener> listener;
    std::shared_ptr<Connection> client;
    std::shared_ptr<Connection> server;
    std::shared_ptr<Recorder> at_a;
    std::shared_ptr<Recorder> at_b;
    int answers = 0;
    Error failure;
};

}  // namespace potluck::transport
