// Both ends of a greeted connection speak the same, highest version that they know, or say why not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "links/control_link.h"
#include "security/certificates.h"
#include "tests/support/wire_v2.h"
#include "transport/tls.h"

namespace potluck::links {
namespace {

using proto::WireVersions;
using security::Role;
using ::testing::AllOf;
using ::testing::HasSubstr;

const security::NodeIdentity kAttic{Role::kWorker, "attic"};
const security::NodeIdentity kCellar{Role::kWorker, "cellar"};

struct Outcome {
    int dialler = 0;   ///< the version; 0: refused
    int listener = 0;  ///< the version; 0: refused
    std::string problem;
};

class LinkVersions : public ::testing::Test {
  protected:
    std::unique_ptr<transport::Transport> node(const security::NodeIdentity& identity) {
        return std::move(*transport::make_tls_transport(
            loop_, {.credentials = *security::issue(authority_, identity, now_)}));
    }
    /// One greeting over a real connection; the listener answers as a node does.
    Outcome greet(WireVersions dialling, WireVersions listening) {
        loop_.restart();
        Outcome outcome;
        std::shared_ptr<ControlLink> accepted;
        ControlLink::Handler handler;
        handler.on_message = [&](const proto::Control& message) {
            proto::Control answer;
            *answer.mutable_hello() = make_hello(proto::Hello::DATA, "cellar", listening);
            const auto version = check_hello(message.hello(), listening);
            if (version) {
                outcome.listener = (*version)->version;
            } else {
                answer.mutable_hello()->set_refused(version.error().message);
            }
            EXPECT_TRUE(accepted->send(answer));
        };
        handler.on_closed = [](const Error&) {};
        const auto listener = server_->listen("127.0.0.1:0", {}, [&](auto connection) {
            accepted = ControlLink::attach(std::move(connection), handler);
        });
        bool done = false;
        dial_and_greet(
            *client_, {(*listener)->address(), kCellar}, {}, std::chrono::seconds(10),
            make_hello(proto::Hello::DATA, "attic"),
            [&](Result<Greeted> made) {
                done = true;
                if (!made) {
                    outcome.problem = made.error().message;
                    return;
                }
                outcome.dialler = made->wire->version;
                made->connection->close();
            },
            dialling);
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!done && std::chrono::steady_clock::now() < end)
            loop_.run_one_for(std::chrono::milliseconds(100));
        if (accepted) accepted->close();
        return outcome;
    }

    boost::asio::io_context loop_;
    security::Time now_ = std::chrono::system_clock::now();
    security::Authority authority_ = security::make_authority("one", now_).value();
    std::unique_ptr<transport::Transport> server_ = node(kCellar);
    std::unique_ptr<transport::Transport> client_ = node(kAttic);
};

TEST_F(LinkVersions, BothEndsAgree) {
    const WireVersions old(test::kOld);
    const WireVersions both(test::kBoth);
    const WireVersions only_new(test::kNew);
    struct Case {
        WireVersions dialling, listening;
        int spoken;
    };
    for (const auto& [dialling, listening, spoken] :
         {Case{old, old, 1}, Case{old, both, 1}, Case{both, old, 1}, Case{both, both, 2},
          Case{both, only_new, 2}, Case{only_new, both, 2}}) {
        const Outcome outcome = greet(dialling, listening);
        EXPECT_EQ(outcome.dialler, spoken) << outcome.problem;
        EXPECT_EQ(outcome.listener, spoken);
    }
}

TEST_F(LinkVersions, NothingInCommonIsARefusalThatNamesBothRanges) {
    const Outcome newer = greet(WireVersions(test::kNew), WireVersions(test::kOld));
    EXPECT_EQ(newer.dialler, 0);
    EXPECT_EQ(newer.listener, 0);
    EXPECT_THAT(newer.problem,
                AllOf(HasSubstr("refused: no common wire version"),
                      HasSubstr("this side speaks 1 to 1, the peer 2 to 2; update this side")));
    const Outcome older = greet(WireVersions(test::kOld), WireVersions(test::kNew));
    EXPECT_EQ(older.dialler, 0);
    EXPECT_THAT(older.problem, HasSubstr("speaks 2 to 2, the peer 1 to 1; update the peer"));
}

}  // namespace
}  // namespace potluck::links
