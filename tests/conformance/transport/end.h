#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "tests/conformance/transport/world.h"

namespace potluck::transport {

/// One end of a connection, with a recorder that is started.
struct End {
    std::shared_ptr<Connection> connection;
    std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
    std::string failure;  ///< of a dial

    void take(std::shared_ptr<Connection> made) {
        connection = std::move(made);
        connection->start(recorder);
    }
    bool ended() const { return !failure.empty() || recorder->closed; }
};

/// Dials; a connection that comes about sends a frame, so that a late refusal shows.
inline std::shared_ptr<End> dial_and_send(Transport& from, const std::string& address) {
    auto end = std::make_shared<End>();
    from.dial(address, {}, std::chrono::seconds(10), [end](auto made) {
        if (!made) {
            end->failure = made.error().message;
            return;
        }
        end->take(*made);
        EXPECT_TRUE(send(**made, bytes_of("hello"), {}));
    });
    return end;
}

}  // namespace potluck::transport
