#pragma once

// Nodes of one cluster on loopback, over TLS.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "links/control_link.h"
#include "security/certificates.h"
#include "tests/support/run_until.h"
#include "transport/tls.h"

namespace potluck::links {

inline const security::NodeIdentity kCoordinator{security::Role::kCoordinator, {}};
inline const security::NodeIdentity kAttic{security::Role::kWorker, "attic"};
inline const security::NodeIdentity kCellar{security::Role::kWorker, "cellar"};

class TwoNodes : public ::testing::Test {
  protected:
    void TearDown() override { accepted_.reset(); }

    std::unique_ptr<transport::Transport> node(const security::NodeIdentity& identity) {
        return std::move(*transport::make_tls_transport(
            loop_, {.credentials = *security::issue(authority_, identity, now_)}));
    }
    /// Whoever dials is accepted_, and what it says is for `on_message`.
    std::unique_ptr<transport::Listener> listen(
        transport::Transport& server, std::function<void(const proto::Control&)> on_message) {
        return std::move(*server.listen(
            "127.0.0.1:0", {}, [this, on_message = std::move(on_message)](auto connection) {
                ControlLink::Handler handler;
                handler.on_message = on_message;
                handler.on_closed = [](const Error&) {};
                accepted_ = ControlLink::attach(std::move(connection), std::move(handler));
            }));
    }
    void answer(const proto::Hello& hello) {
        proto::Control answer;
        *answer.mutable_hello() = hello;
        EXPECT_TRUE(accepted_->send(answer));
    }
    void close_accepted() {
        if (accepted_) accepted_->close();
        accepted_.reset();
    }
    bool run_until(const std::function<bool()>& done) { return test::run_until(loop_, done); }

    boost::asio::io_context loop_;
    security::Time now_ = std::chrono::system_clock::now();
    security::Authority authority_ = security::make_authority("one", now_).value();
    std::shared_ptr<ControlLink> accepted_;
};

}  // namespace potluck::links
