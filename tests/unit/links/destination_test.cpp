// Whoever dials speaks only to the node that must be there: a certificate of the cluster alone is
// not enough.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "links/control_link.h"
#include "security/certificates.h"
#include "transport/tls.h"

namespace potluck::links {
namespace {

using security::NodeIdentity;
using security::Role;
using ::testing::HasSubstr;

const NodeIdentity kCoordinator{Role::kCoordinator, {}};
const NodeIdentity kAttic{Role::kWorker, "attic"};
const NodeIdentity kCellar{Role::kWorker, "cellar"};

class Destinations : public ::testing::Test {
  protected:
    std::unique_ptr<transport::Transport> node(const NodeIdentity& identity) {
        return std::move(*transport::make_tls_transport(
            loop_, {.credentials = *security::issue(authority_, identity, now_)}));
    }
    /// Dials a node that answers greetings; what came of it, and whether it heard anything.
    std::string dial(const NodeIdentity& there, const NodeIdentity& wanted) {
        loop_.restart();
        const auto server = node(there);
        const auto client = node(kAttic);
        std::shared_ptr<ControlLink> accepted;
        heard_ = false;
        ControlLink::Handler handler;
        handler.on_message = [&](const proto::Control&) {
            heard_ = true;
            proto::Control answer;
            *answer.mutable_hello() = make_hello(proto::Hello::DATA, "there");
            EXPECT_TRUE(accepted->send(answer));
        };
        handler.on_closed = [](const Error&) {};
        const auto listener = server->listen("127.0.0.1:0", {}, [&](auto connection) {
            accepted = ControlLink::attach(std::move(connection), handler);
        });
        std::string outcome;
        dial_and_greet(*client, {(*listener)->address(), wanted}, {}, std::chrono::seconds(10),
                       make_hello(proto::Hello::DATA, "attic"), [&](auto made) {
                           outcome = made ? "welcome" : made.error().message;
                           if (made) made->connection->close();
                       });
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (outcome.empty() && std::chrono::steady_clock::now() < end)
            loop_.run_one_for(std::chrono::milliseconds(100));
        loop_.restart();
        loop_.run_for(std::chrono::milliseconds(20));  // what was sent arrives
        if (accepted) accepted->close();
        return outcome;
    }

    boost::asio::io_context loop_;
    security::Time now_ = std::chrono::system_clock::now();
    security::Authority authority_ = security::make_authority("one", now_).value();
    bool heard_ = false;
};

TEST_F(Destinations, TheRightNodeIsGreeted) {
    EXPECT_EQ(dial(kCellar, kCellar), "welcome");
    EXPECT_TRUE(heard_);
    EXPECT_EQ(dial(kCoordinator, kCoordinator), "welcome");
}

TEST_F(Destinations, AnotherNodeOfTheClusterHearsNothing) {
    EXPECT_THAT(dial(kCellar, kCoordinator), HasSubstr("is cellar, not the coordinator"));
    EXPECT_FALSE(heard_);
    EXPECT_THAT(dial(kCellar, kAttic), HasSubstr("is cellar, not attic"));
    EXPECT_FALSE(heard_);
    EXPECT_THAT(dial(kCoordinator, kCellar), HasSubstr("is the coordinator, not cellar"));
    EXPECT_FALSE(heard_);
}

}  // namespace
}  // namespace potluck::links
