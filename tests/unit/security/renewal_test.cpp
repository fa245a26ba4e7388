#include "security/renewal.h"

#include <gtest/gtest.h>

namespace potluck::security {
namespace {

using namespace std::chrono_literals;

constexpr Time kNow{std::chrono::seconds(1'800'000'000)};
const NodeIdentity kAttic{Role::kWorker, "attic"};

TEST(Renewals, AreDueWhenAThirdIsLeft) {
    Renewal renewal({kNow, kNow + 300h});
    EXPECT_FALSE(renewal.due(kNow));
    EXPECT_FALSE(renewal.due(kNow + 200h - 1s));
    EXPECT_TRUE(renewal.due(kNow + 200h));
    EXPECT_EQ(renewal.next(), kNow + 200h);
    EXPECT_TRUE(renewal.due(kNow + 400h)) << "also when it is too late";
}

TEST(Renewals, AreAskedForAgainAfterAWhileAndNotBefore) {
    Renewal renewal({kNow, kNow + 30h});
    renewal.asked(kNow + 20h);
    EXPECT_FALSE(renewal.due(kNow + 20h + 29min));
    EXPECT_TRUE(renewal.due(kNow + 20h + 30min)) << "a sixtieth of its life";
    Renewal yearly({kNow, kNow + 8760h});
    yearly.asked(kNow + 6000h);
    EXPECT_EQ(yearly.next(), kNow + 6001h) << "at most an hour";
    Renewal brief({kNow, kNow + 3s});
    brief.asked(kNow + 2s);
    EXPECT_EQ(brief.next(), kNow + 2s + 100ms) << "at least a moment";
}

TEST(Renewals, BeginAnewWithTheNewCertificate) {
    Renewal renewal({kNow, kNow + 300h});
    renewal.asked(kNow + 200h);
    renewal.renewed({kNow + 200h, kNow + 500h});
    EXPECT_FALSE(renewal.due(kNow + 300h));
    EXPECT_TRUE(renewal.due(kNow + 400h));
}

TEST(Renewals, KnowTheLifeOfACertificate) {
    const auto authority = make_authority("one", kNow).value();
    const auto year = validity(issue(authority, kAttic, kNow).value().certificate).value();
    EXPECT_EQ(year.from, kNow - 24h);
    EXPECT_EQ(year.until, kNow + kNodeValidity);
    const auto brief = issue(authority, kAttic, kNow, 30s).value();
    EXPECT_EQ(validity(brief.certificate)->from, kNow - 3s) << "it is not mostly in the past";
    EXPECT_EQ(validity(brief.certificate)->until, kNow + 30s);
    EXPECT_TRUE(check_credentials(brief, kNow + 29s));
    EXPECT_FALSE(check_credentials(brief, kNow + 31s));
    EXPECT_FALSE(validity("nothing"));
}

}  // namespace
}  // namespace potluck::security
