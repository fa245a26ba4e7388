// Both ends of a greeted connection speak the same, highest version that they know, or say why not.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/wire_v2.h"
#include "tests/unit/links/two_nodes.h"

namespace potluck::links {
namespace {

using proto::WireVersions;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Outcome {
    int dialler = 0;   ///< the version; 0: refused
    int listener = 0;  ///< the version; 0: refused
    std::string problem;
};

class LinkVersions : public TwoNodes {
  protected:
    /// One greeting over a real connection; the listener answers as a node does.
    Outcome greet(WireVersions dialling, WireVersions listening) {
        Outcome outcome;
        const auto listener = listen(*server_, [&](const proto::Control& message) {
            auto hello = make_hello(proto::Hello::DATA, "cellar", listening);
            const auto version = check_hello(message.hello(), listening);
            if (version) {
                outcome.listener = (*version)->version;
            } else {
                hello.set_refused(version.error().message);
            }
            answer(hello);
        });
        bool done = false;
        dial_and_greet(
            *client_, {listener->address(), kCellar}, {}, std::chrono::seconds(10),
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
        run_until([&] { return done; });
        close_accepted();
        return outcome;
    }

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
