#include "security/certificates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace potluck::security {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr Time kNow{std::chrono::seconds(1'800'000'000)};
const NodeIdentity kAttic{Role::kWorker, "attic"};

class Certificates : public ::testing::Test {
  protected:
    Authority authority_ = make_authority("one", kNow).value();
    Authority other_ = make_authority("two", kNow).value();
};

TEST_F(Certificates, SayWhoseTheyAre) {
    EXPECT_EQ(check_credentials(issue(authority_, kAttic, kNow).value(), kNow).value(), kAttic);
    const NodeIdentity coordinator{Role::kCoordinator, {}};
    EXPECT_EQ(check_credentials(issue(authority_, coordinator, kNow).value(), kNow).value(),
              coordinator);
}

TEST_F(Certificates, AreValidForAYear) {
    const auto made = issue(authority_, kAttic, kNow).value();
    EXPECT_TRUE(check_credentials(made, kNow - 23h)) << "clocks of a home differ";
    EXPECT_TRUE(check_credentials(made, kNow + kNodeValidity - 1s));
    EXPECT_THAT(check_credentials(made, kNow + kNodeValidity + 1s).error().message,
                HasSubstr("expired"));
    EXPECT_THAT(check_credentials(made, kNow - 25h).error().message, HasSubstr("not yet valid"));
}

TEST_F(Certificates, OfAnotherAuthorityAreRefused) {
    auto made = issue(other_, kAttic, kNow).value();
    made.ca = authority_.certificate;
    EXPECT_EQ(check_credentials(made, kNow).error().code, ErrorCode::kCorrupt);
    auto mixed = issue(authority_, kAttic, kNow).value();
    mixed.key = issue(authority_, kAttic, kNow).value().key;
    EXPECT_THAT(check_credentials(mixed, kNow).error().message, HasSubstr("not the certificate's"));
}

TEST_F(Certificates, ANodeCannotSign) {
    const auto attic = issue(authority_, kAttic, kNow).value();
    const Authority impostor{attic.certificate, attic.key};
    auto made = issue(impostor, {Role::kCoordinator, {}}, kNow).value();
    made.ca = authority_.certificate;
    EXPECT_FALSE(check_credentials(made, kNow));
    made.ca = attic.certificate;
    EXPECT_FALSE(check_credentials(made, kNow));
}

TEST_F(Certificates, RequestsThatAreNoneAreRefused) {
    const auto made = make_request().value();
    EXPECT_TRUE(sign_request(authority_, made.request, kAttic, kNow));
    for (std::size_t i = 0; i < made.request.size(); ++i) {
        std::string tampered = made.request;
        tampered[i] = static_cast<char>(tampered[i] ^ 0x11);
        EXPECT_FALSE(sign_request(authority_, tampered, kAttic, kNow)) << i;
    }
    EXPECT_FALSE(sign_request(authority_, "", kAttic, kNow));
    EXPECT_FALSE(sign_request(authority_, std::string(kMaxRequestBytes + 1, 'x'), kAttic, kNow));
}

TEST_F(Certificates, NamesCannotSmuggleAnything) {
    const auto made = make_request().value();
    for (const char* name : {"", "a b", "a,URI:potluck:coordinator", "a\n", "a:b", "\xC3\xA4"}) {
        EXPECT_FALSE(is_node_name(name));
        EXPECT_FALSE(sign_request(authority_, made.request, {Role::kWorker, name}, kNow)) << name;
    }
    EXPECT_FALSE(sign_request(authority_, made.request, {Role::kUnknown, "attic"}, kNow));
    EXPECT_FALSE(is_node_name(std::string(kMaxNameBytes + 1, 'a')));
}

TEST_F(Certificates, FingerprintsDiffer) {
    EXPECT_EQ(fingerprint(authority_.certificate).value(),
              fingerprint(authority_.certificate).value());
    EXPECT_NE(fingerprint(authority_.certificate).value(), fingerprint(other_.certificate).value());
    EXPECT_FALSE(fingerprint("nothing"));
}

}  // namespace
}  // namespace potluck::security
