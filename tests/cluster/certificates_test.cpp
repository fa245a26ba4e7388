// Certificates that are revoked and renewed while answers run.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "links/control_link.h"
#include "tests/cluster/home.h"

namespace potluck::test {
namespace {

using security::Role;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

const char* const kPrompt = "import os\n\ndef read_all(path):\n";

/// What a node with these credentials gets at an address: "" is a welcome.
std::string try_link(Home& home, const std::string& address, const security::NodeIdentity& there,
                     const std::string& name, proto::Hello::Role role) {
    const auto credentials =
        security::issue(home.authority(), {Role::kWorker, name}, std::chrono::system_clock::now());
    auto transport =
        std::move(*transport::make_tls_transport(home.loop(), {.credentials = *credentials}));
    std::string outcome;
    bool done = false;
    links::dial_and_greet(*transport, {address, there}, {}, 5s, links::make_hello(role, name),
                          [&](Result<links::Greeted> made) {
                              done = true;
                              if (!made) outcome = made.error().message;
                              if (made) made->connection->close();
                          });
    EXPECT_TRUE(home.run_until([&] { return done; }));
    return outcome;
}

TEST(Revocation, ANodeIsShutOutAtOnceOnEveryLinkAndAnswersGoOn) {
    Home home({.workers = 3});
    for (const char* name : {"attic", "cellar", "desk"})
        home.add_worker(name, {.pace = "4ms"});
    ASSERT_TRUE(home.run_until_ready()) << home.status();
    const std::string undisturbed = home.complete(kPrompt, 60);
    ASSERT_FALSE(undisturbed.starts_with("error")) << undisturbed;
    const std::string attic_address = home.address_of("attic");
    const std::string cellar_address = home.address_of("cellar");

    const auto answer = home.ask(kPrompt, 60);
    ASSERT_TRUE(home.run_until([&] { return answer->text.size() > 20; }));
    home.revoke("attic");
    ASSERT_TRUE(home.run_until([&] { return home.stages().size() == 2; })) << home.status();
    ASSERT_TRUE(home.run_until([&] { return answer->ended; }));
    EXPECT_EQ(answer->problem, "");
    EXPECT_EQ(answer->text, undisturbed);
    EXPECT_THAT(home.stages(), ::testing::UnorderedElementsAre("cellar", "desk"));

    // With a certificate that is otherwise good: control, results, weights; at the coordinator and
    // at a worker.
    const security::NodeIdentity coordinator{Role::kCoordinator, {}};
    const security::NodeIdentity cellar{Role::kWorker, "cellar"};
    for (const auto role : {proto::Hello::CONTROL, proto::Hello::DATA, proto::Hello::WEIGHTS}) {
        EXPECT_THAT(try_link(home, home.coordinator_address(), coordinator, "attic", role),
                    HasSubstr("certificate revoked"));
    }
    for (const auto role : {proto::Hello::DATA, proto::Hello::WEIGHTS, proto::Hello::PROBE}) {
        EXPECT_THAT(try_link(home, cellar_address, cellar, "attic", role),
                    HasSubstr("certificate revoked"));
    }
    EXPECT_EQ(try_link(home, cellar_address, cellar, "desk", proto::Hello::PROBE), "");
    // It tries again and again, and stays out.
    home.run_until([] { return false; }, 1s);
    EXPECT_EQ(home.complete(kPrompt, 60), undisturbed);
    EXPECT_EQ(home.stages().size(), 2U);
    EXPECT_TRUE(home.standing("cellar").is_revoked({Role::kWorker, "attic"}));
}

TEST(Revocation, WhoComesLaterHearsOfIt) {
    Home home({.workers = 1});
    home.add_worker("attic");
    ASSERT_TRUE(home.run_until_ready()) << home.status();
    home.add_worker("cellar");
    ASSERT_TRUE(home.run_until([&] { return home.stages().size() == 2; })) << home.status();
    home.revoke("attic");
    ASSERT_TRUE(home.run_until([&] { return home.stages().size() == 1; }));
    home.add_worker("desk");
    EXPECT_TRUE(home.run_until([&] {
        return home.standing("desk").is_revoked({Role::kWorker, "attic"});
    }));
}

TEST(Renewal, ACertificateIsRenewedBeforeItEndsWithoutAnInterruption) {
    Home home({.workers = 2});
    const auto short_lived = 4s;
    home.add_worker("attic", {.validity = short_lived, .pace = "4ms"});
    home.add_worker("cellar", {.pace = "4ms"});
    ASSERT_TRUE(home.run_until_ready()) << home.status();
    const auto before = home.standing("attic").credentials();
    const auto ends = security::validity(before->certificate)->until;
    const auto answer = home.ask(kPrompt, 400);
    ASSERT_TRUE(home.run_until([&] { return home.renewals("attic") > 0; })) << home.status();
    EXPECT_LT(std::chrono::system_clock::now(), ends) << "too late";
    const auto after = home.standing("attic").credentials();
    EXPECT_NE(after->certificate, before->certificate);
    EXPECT_NE(after->key, before->key);
    EXPECT_GT(security::validity(after->certificate)->until, ends + 24h);
    EXPECT_EQ(home.renewals("cellar"), 0U);

    // When the first one is over, links are made with the second: a third worker changes the plan.
    ASSERT_TRUE(home.run_until([&] { return std::chrono::system_clock::now() > ends + 1s; }, 30s) &&
                home.run_until([&] { return answer->ended; }));
    EXPECT_EQ(answer->problem, "");
    home.add_worker("desk", {.pace = "4ms"});
    ASSERT_TRUE(home.run_until([&] { return home.stages().size() == 3; })) << home.status();
    ASSERT_TRUE(home.run_until_ready()) << home.status();
    EXPECT_EQ(home.complete(kPrompt, 400), answer->text);
    EXPECT_EQ(home.renewals("attic"), 1U);
}

TEST(Renewal, TheCoordinatorRenewsItsOwnAlsoWhenItHasEnded) {
    boost::asio::io_context loop(1);
    const auto now = std::chrono::system_clock::now();
    const auto authority = *security::make_authority("home", now);
    const security::NodeIdentity coordinator{Role::kCoordinator, {}};
    const auto standing = std::make_shared<security::Standing>(
        *security::issue(authority, coordinator, now - 60s, 30s));
    ASSERT_FALSE(security::check_credentials(*standing->credentials(), now));
    std::vector<security::Credentials> kept;
    bool disk_is_full = true;
    const auto open = [&] {
        return coordinator::NodeCertificates(
            loop,
            {.authority = authority,
             .registry = std::make_unique<MemoryRegistry>(std::make_shared<MemoryRegistry::Kept>()),
             .standing = standing,
             .keep_own = [&](const security::Credentials& renewed) -> Status {
                 if (disk_is_full) return error(ErrorCode::kResourceExhausted, "full");
                 kept.push_back(renewed);
                 return {};
             }});
    };
    open();
    EXPECT_FALSE(security::check_credentials(*standing->credentials(), now))
        << "what is not kept is not shown";
    disk_is_full = false;
    open();
    ASSERT_EQ(kept.size(), 1U);
    EXPECT_EQ(security::check_credentials(*standing->credentials(), now).value(), coordinator);
    EXPECT_EQ(standing->credentials()->certificate, kept[0].certificate);
    open();
    EXPECT_EQ(kept.size(), 1U) << "it is good for a year";
}

TEST(Renewal, ARevokedNodeGetsNone) {
    boost::asio::io_context loop(1);
    const auto now = std::chrono::system_clock::now();
    const auto authority = *security::make_authority("home", now);
    const auto registry = std::make_shared<MemoryRegistry::Kept>();
    registry->enrolments.nodes = {"attic", "cellar"};
    coordinator::NodeCertificates certificates(
        loop, {.authority = authority,
               .registry = std::make_unique<MemoryRegistry>(registry),
               .standing = std::make_shared<security::Standing>(
                   *security::issue(authority, {Role::kCoordinator, {}}, now)),
               .validity = 60s});
    const auto made = *security::make_request();
    proto::Renew request;
    request.set_request(made.request);
    ASSERT_TRUE(registry->enrolments.revoke_node("cellar"));  // and nobody has looked since
    const auto answer = certificates.renew("attic", request).renewed();
    EXPECT_EQ(answer.refused(), "");
    EXPECT_EQ(security::check_credentials({authority.certificate, answer.certificate(), made.key},
                                          now + 59s)
                  .value(),
              (security::NodeIdentity{Role::kWorker, "attic"}));
    EXPECT_FALSE(security::check_credentials(
        {authority.certificate, answer.certificate(), made.key}, now + 61s));
    EXPECT_THAT(certificates.renew("cellar", request).renewed().refused(), HasSubstr("revoked"));
    request.set_request("noise");
    EXPECT_THAT(certificates.renew("attic", request).renewed().refused(),
                HasSubstr("not a certificate request"));
}

}  // namespace
}  // namespace potluck::test
