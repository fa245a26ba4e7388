// Whoever dials speaks only to the node that must be there: a certificate of the cluster alone is
// not enough.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/links/two_nodes.h"

namespace potluck::links {
namespace {

using security::NodeIdentity;
using ::testing::HasSubstr;

class Destinations : public TwoNodes {
  protected:
    /// Dials a node that answers greetings; what came of it, and whether it heard anything.
    std::string dial(const NodeIdentity& there, const NodeIdentity& wanted) {
        const auto server = node(there);
        const auto client = node(kAttic);
        heard_ = false;
        const auto listener = listen(*server, [&](const proto::Control&) {
            heard_ = true;
            answer(make_hello(proto::Hello::DATA, "there"));
        });
        std::string outcome;
        dial_and_greet(*client, {listener->address(), wanted}, {}, std::chrono::seconds(10),
                       make_hello(proto::Hello::DATA, "attic"), [&](auto made) {
                           outcome = made ? "welcome" : made.error().message;
                           if (made) made->connection->close();
                       });
        run_until([&] { return !outcome.empty(); });
        loop_.restart();
        loop_.run_for(std::chrono::milliseconds(20));  // what was sent arrives
        close_accepted();
        return outcome;
    }

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
