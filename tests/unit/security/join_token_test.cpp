#include "security/join_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "security/enrolments.h"

namespace potluck::security {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

constexpr Time kNow{std::chrono::seconds(1'800'000'000)};

JoinToken some_token() {
    JoinToken token;
    for (std::size_t i = 0; i < token.ca.size(); ++i)
        token.ca[i] = static_cast<std::uint8_t>(7 * i);
    token.secret = "0123456789abcdef";
    token.expires = std::chrono::sys_seconds(1'800'003'600s);
    token.address = "10.0.0.7:7070";
    return token;
}

TEST(JoinToken, SurvivesBeingWritten) {
    const std::string text = to_string(some_token());
    EXPECT_EQ(
        text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "-_"),
        std::string::npos)
        << text;
    const auto read = parse_join_token(text);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, some_token());
}

TEST(JoinToken, IsAlwaysTheSameText) {
    // Frozen: tokens of one version are read by another. Written from the description.
    EXPECT_EQ(
        to_string(some_token()),
        "potluck-join-AQAHDhUcIyoxOD9GTVRbYmlwd36FjJOaoaivtr3Ey9LZMDEyMzQ1Njc4OWFiY2RlZhDgSWsAAAAA"
        "MTAuMC4wLjc6NzA3MFyrF2w");
}

TEST(JoinToken, EveryChangedCharacterIsNoticed) {
    const std::string text = to_string(some_token());
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (const char other : {'A', 'B', 'z', '!', '='}) {
            std::string tampered = text;
            if (tampered[i] == other) continue;
            tampered[i] = other;
            EXPECT_FALSE(parse_join_token(tampered)) << i;
        }
        EXPECT_FALSE(parse_join_token(text.substr(0, i))) << i;
    }
    EXPECT_FALSE(parse_join_token(text + "A"));
    EXPECT_FALSE(parse_join_token(std::string(100000, 'A')));
}

TEST(JoinToken, TheErrorDoesNotQuoteIt) {
    const std::string text = to_string(some_token()).substr(0, 60);
    EXPECT_THAT(parse_join_token(text).error().message, ::testing::Not(HasSubstr(text.substr(13))));
}

Enrolments with_token(const std::string& secret, std::uint32_t uses) {
    Enrolments enrolments;
    EXPECT_TRUE(enrolments.add({.hash = hash_secret(secret),
                                .expires = std::chrono::sys_seconds(1'800'003'600s),
                                .uses_left = uses},
                               kNow));
    return enrolments;
}

TEST(Enrolments, ATokenWorksAsOftenAsItMay) {
    auto e = with_token("secret", 2);
    EXPECT_EQ(e.redeem("secret", "attic", kNow).value(), "attic");
    EXPECT_EQ(e.redeem("secret", "attic", kNow).value(), "attic-2");
    EXPECT_THAT(e.redeem("secret", "attic", kNow).error().message, HasSubstr("used up"));
    EXPECT_EQ(e.nodes, (std::vector<std::string>{"attic", "attic-2"}));
}

TEST(Enrolments, WrongExpiredAndRevokedTokensAreToldApartAndChangeNothing) {
    auto e = with_token("secret", 2);
    const auto before = e;
    EXPECT_THAT(e.redeem("secreT", "attic", kNow).error().message, HasSubstr("not one of this"));
    EXPECT_THAT(e.redeem("", "attic", kNow).error().message, HasSubstr("not one of this"));
    EXPECT_THAT(e.redeem("secret", "attic", kNow + 1h).error().message, HasSubstr("expired"));
    EXPECT_THAT(e.redeem("secret", "at tic", kNow).error().message, HasSubstr("name"));
    EXPECT_EQ(e, before);
    EXPECT_TRUE(e.redeem("secret", "attic", kNow + 1h - 1s));
    ASSERT_TRUE(e.revoke(e.tokens[0].id()));
    EXPECT_THAT(e.redeem("secret", "attic", kNow).error().message, HasSubstr("revoked"));
    EXPECT_EQ(e.revoke("00000000").error().code, ErrorCode::kNotFound);
}

TEST(Enrolments, KeepsNoSecretAndSurvivesBeingWritten) {
    auto e = with_token("secret", 2);
    ASSERT_TRUE(e.redeem("secret", "attic", kNow));
    const std::string text = to_json(e);
    EXPECT_THAT(text, ::testing::Not(HasSubstr("secret\"")));
    EXPECT_THAT(text, HasSubstr(hash_secret("secret")));
    EXPECT_EQ(parse_enrolments(text).value(), e);
    for (const char* bad : {"", "[]", "{}", R"({"tokens":[{}],"nodes":[]})",
                            R"({"tokens":[],"nodes":["a b"]})", R"({"tokens":1,"nodes":[]})"})
        EXPECT_EQ(parse_enrolments(bad).error().code, ErrorCode::kCorrupt) << bad;
}

TEST(Enrolments, SpentTokensMakeRoom) {
    Enrolments e;
    TokenRecord record{.hash = hash_secret("x"),
                       .expires = std::chrono::sys_seconds(1'800'003'600s)};
    for (std::size_t i = 0; i < kMaxTokens; ++i)
        ASSERT_TRUE(e.add(record, kNow));
    EXPECT_EQ(e.add(record, kNow).error().code, ErrorCode::kResourceExhausted);
    EXPECT_TRUE(e.add(record, kNow + 1h));
}

}  // namespace
}  // namespace potluck::security
