// Links while the standing of nodes changes: certificates that are revoked and renewed under way.

#include "security/standing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "tests/conformance/transport/end.h"
#include "tests/conformance/transport/tls_nodes.h"
#include "tests/support/run_until.h"
#include "transport/tls.h"

namespace potluck::transport {
namespace {

using security::NodeIdentity;
using security::Role;
using security::Standing;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class Standings : public ::testing::Test {
  protected:
    void SetUp() override {
        server_ = node(server_standing_);
        listener_ = std::move(*server_->listen("127.0.0.1:0", {}, [this](auto connection) {
            accepted_.push_back(std::make_shared<End>());
            accepted_.back()->take(std::move(connection));
        }));
    }
    static std::shared_ptr<Standing> standing(const NodeIdentity& node) {
        return std::make_shared<Standing>(test_credentials(node));
    }
    std::unique_ptr<TlsTransport> node(std::shared_ptr<Standing> standing) {
        return std::move(*make_tls_transport(loop_, {.standing = std::move(standing)}));
    }
    /// Dials and sends a frame; waits until it is there or nothing came of it.
    std::shared_ptr<End> dial(Transport& from, Listener& to) {
        const auto end = dial_and_send(from, to.address());
        const std::size_t before = accepted_.size();
        EXPECT_TRUE(run_until([&] {
            return end->ended() ||
                   (accepted_.size() > before && accepted_.back()->recorder->count > 0);
        }));
        return end;
    }
    bool run_until(const std::function<bool()>& done) { return test::run_until(loop_, done); }

    boost::asio::io_context loop_;
    std::shared_ptr<Standing> server_standing_ = standing({Role::kWorker, "cellar"});
    std::unique_ptr<TlsTransport> server_;
    std::unique_ptr<Listener> listener_;
    std::vector<std::shared_ptr<End>> accepted_;
};

TEST_F(Standings, ARevokedNodeIsCutOffAtOnceAndOthersAreNot) {
    const auto attic = node(standing({Role::kWorker, "attic"}));
    const auto desk = node(standing({Role::kWorker, "desk"}));
    const auto from_attic = dial(*attic, *listener_);
    const auto from_desk = dial(*desk, *listener_);
    ASSERT_EQ(accepted_.size(), 2U);
    server_standing_->revoke({"attic"});
    server_->cut_revoked();
    ASSERT_TRUE(run_until([&] { return accepted_[0]->recorder->closed && from_attic->ended(); }));
    EXPECT_THAT(accepted_[0]->recorder->reason.message,
                HasSubstr("the certificate of attic is revoked"));
    ASSERT_TRUE(send(*from_desk->connection, bytes_of("again"), {}));
    ASSERT_TRUE(run_until([&] { return accepted_[1]->recorder->count == 2; }));
}

TEST_F(Standings, ARevokedNodeDoesNotComeBackAndIsToldWhy) {
    server_standing_->revoke({"attic"});
    const auto attic = node(standing({Role::kWorker, "attic"}));
    const auto refused = dial(*attic, *listener_);
    EXPECT_THAT(refused->failure + refused->recorder->reason.message,
                HasSubstr("certificate revoked"));
    EXPECT_TRUE(accepted_.empty());
    const auto desk = node(standing({Role::kWorker, "desk"}));
    EXPECT_FALSE(dial(*desk, *listener_)->ended());
    EXPECT_EQ(accepted_.size(), 1U);
}

TEST_F(Standings, ARevokedNodeIsNotDialled) {
    const auto own = standing({Role::kWorker, "attic"});
    const auto attic = node(own);
    own->revoke({"cellar"});
    const auto refused = dial(*attic, *listener_);
    EXPECT_THAT(refused->failure, HasSubstr("certificate revoked"));
    EXPECT_EQ(refused->connection, nullptr);
}

TEST_F(Standings, AWorkersNameRevokesNoCoordinator) {
    const auto own = standing({Role::kCoordinator, {}});
    server_standing_->revoke({"", "coordinator"});
    EXPECT_FALSE(dial(*node(own), *listener_)->ended());
}

TEST_F(Standings, ARenewedCertificateIsShownWithoutAnInterruption) {
    const auto authority = test_authority();
    const auto now = std::chrono::system_clock::now();
    const auto own = std::make_shared<Standing>(
        security::issue(authority, {Role::kWorker, "attic"}, now, 3600s).value());
    const auto attic = node(own);
    const auto before = dial(*attic, *listener_);
    own->renew(security::issue(authority, {Role::kWorker, "attic"}, now).value());
    const auto after = dial(*attic, *listener_);
    EXPECT_FALSE(after->ended());
    ASSERT_EQ(accepted_.size(), 2U);
    // The old connection goes on.
    ASSERT_TRUE(send(*before->connection, bytes_of("again"), {}));
    ASSERT_TRUE(run_until([&] { return accepted_[0]->recorder->count == 2; }));
    EXPECT_EQ(accepted_[1]->connection->identity(), (NodeIdentity{Role::kWorker, "attic"}));
}

TEST_F(Standings, AnExpiredCertificateIsRefusedUntilItIsRenewed) {
    const auto now = std::chrono::system_clock::now();
    const auto own = std::make_shared<Standing>(
        security::issue(test_authority(), {Role::kWorker, "attic"}, now - 60s, 30s).value());
    const auto attic = node(own);
    const auto expired = dial(*attic, *listener_);
    EXPECT_THAT(expired->failure + expired->recorder->reason.message, HasSubstr("expired"));
    EXPECT_TRUE(accepted_.empty());
    own->renew(security::issue(test_authority(), {Role::kWorker, "attic"}, now, 30s).value());
    EXPECT_FALSE(dial(*attic, *listener_)->ended());
}

}  // namespace
}  // namespace potluck::transport
