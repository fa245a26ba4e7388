#include "coordinator/api/keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "coordinator/api/key_file.h"
#include "coordinator/api/key_table.h"
#include "coordinator/api/rate_limit.h"

namespace potluck::coordinator::api {
namespace {

using namespace std::chrono_literals;

const std::string kHashA = "sha256:" + std::string(64, 'a');
const std::string kHashB = "sha256:" + std::string(64, 'B');

TEST(KeysFile, ReadsNamesHashesAndSettings) {
    const auto keys = parse_keys("# the family\n\n \t\nalice " + kHashA +
                                     "\r\n"
                                     "  bob@desk\t" +
                                     kHashB +
                                     " priority=batch max_requests=4 requests_per_minute=60"
                                     "  tokens_per_minute=1000000000 max_tokens=4096 "
                                     "max_queue_seconds=30",
                                 "keys");
    ASSERT_TRUE(keys) << keys.error().message;
    ASSERT_EQ(keys->size(), 2U);
    EXPECT_EQ((*keys)[0].name, "alice");
    EXPECT_EQ((*keys)[0].hash[31], 0xAA);
    EXPECT_EQ((*keys)[0].limits, KeyLimits{});
    EXPECT_EQ((*keys)[1].name, "bob@desk");
    EXPECT_EQ((*keys)[1].hash[0], 0xBB);
    EXPECT_EQ((*keys)[1].limits, (KeyLimits{.priority = Priority::kBatch,
                                            .max_requests = 4,
                                            .requests_per_minute = 60,
                                            .tokens_per_minute = 1'000'000'000,
                                            .max_tokens = 4096,
                                            .max_queue = 30s}));
    const auto admin = parse_keys("me " + kHashA + " admin=yes\nyou " + kHashB + " admin=no", "f");
    ASSERT_TRUE(admin) << admin.error().message;
    EXPECT_TRUE((*admin)[0].limits.admin);
    EXPECT_FALSE((*admin)[1].limits.admin);
    EXPECT_EQ(parse_keys(key_line((*admin)[0]), "f")->front().limits, (*admin)[0].limits);
    EXPECT_TRUE(parse_keys("", "keys")->empty());
    EXPECT_TRUE(parse_keys("# nobody yet\n", "keys")->empty());
}

TEST(KeysFile, ErrorsNameTheLine) {
    struct Case {
        std::string text;
        std::string error;
    };
    for (const Case& c : {
             Case{"alice", "f:1: after the name"},
             Case{"# x\n\nalice sha256:12\n", "f:3: after the name"},
             Case{"alice sha256:" + std::string(63, 'a') + "g", "f:1: after the name"},
             Case{"alice md5:" + std::string(64, 'a'), "f:1: after the name"},
             Case{"al/ice " + kHashA, "f:1: 'al/ice' is no name"},
             Case{std::string(65, 'n') + " " + kHashA, "is no name"},
             Case{"alice " + kHashA + " fast", "f:1: 'fast' is no setting"},
             Case{"alice " + kHashA + " admin=1", "f:1: admin is 'yes' or 'no'"},
             Case{"alice " + kHashA + " speed=3", "f:1: there is no setting 'speed'; there are"},
             Case{"alice " + kHashA + " max_requests=0", "f:1: max_requests is a whole number"},
             Case{"alice " + kHashA + " max_requests=-1", "f:1: max_requests is a whole number"},
             Case{"alice " + kHashA + " max_requests=4x", "'4x'"},
             Case{"alice " + kHashA + " max_requests=", "f:1: max_requests is a whole number"},
             Case{"alice " + kHashA + " max_requests=99999999999999999999", "f:1: max_requests"},
             Case{"alice " + kHashA + " tokens_per_minute=1000000001", "to 1000000000"},
             Case{"alice " + kHashA + " max_tokens=1 max_tokens=2",
                  "f:1: max_tokens is given twice"},
             Case{"alice " + kHashA + " priority=high",
                  "f:1: priority is 'interactive' or 'batch'"},
             Case{"alice " + kHashA + "\n\nalice " + kHashB,
                  "f:3: the name 'alice' is taken by line 1"},
             Case{"alice " + kHashA + "\nbob " + kHashA, "f:2: this is the key of line 1"},
             Case{"alice " + kHashA + " \x1b[2J=1", "?[2J"},
             Case{"alice " + kHashA + std::string(500, ' '), "f:1: the line is longer"},
         }) {
        const auto keys = parse_keys(c.text, "f");
        ASSERT_FALSE(keys) << c.text;
        EXPECT_EQ(keys.error().code, ErrorCode::kInvalidArgument);
        EXPECT_NE(keys.error().message.find(c.error), std::string::npos) << keys.error().message;
    }
    // A key that was put where its hash belongs is not written into logs.
    const auto secret = parse_keys("alice potluck_0123456789", "f");
    ASSERT_FALSE(secret);
    EXPECT_EQ(secret.error().message.find("0123456789"), std::string::npos);
}

TEST(KeysFile, IsBounded) {
    std::string text;
    for (std::size_t i = 0; i <= kMaxKeys; ++i)
        text += fmt::format("k{} sha256:{:064x}\n", i, i);
    const auto keys = parse_keys(text, "f");
    ASSERT_FALSE(keys);
    EXPECT_NE(keys.error().message.find(fmt::format("f:{}: there are more", kMaxKeys + 1)),
              std::string::npos);
}

TEST(Key, HashesAreSha256) {
    const KeyHash abc = hash_key("abc");  // FIPS 180-2, B.1
    const KeyHash expected = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                              0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                              0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    EXPECT_EQ(abc, expected);
}

TEST(Key, NewOnesAreRandomAndReadBack) {
    std::set<std::string> secrets;
    for (int i = 0; i < 100; ++i) {
        const auto made = make_key("carol", {.priority = Priority::kBatch, .max_tokens = 7});
        ASSERT_TRUE(made);
        EXPECT_EQ(made->secret.size(), 8U + 48U);
        EXPECT_TRUE(secrets.insert(made->secret).second);
        EXPECT_EQ(bearer_token("Bearer " + made->secret), made->secret);
        const auto keys = parse_keys(key_line(made->key), "f");
        ASSERT_TRUE(keys) << keys.error().message;
        EXPECT_EQ(keys->at(0), made->key);
        EXPECT_EQ(find_key(*keys, hash_key(made->secret)), 0U);
        EXPECT_EQ(find_key(*keys, hash_key(made->secret + "0")), std::nullopt);
    }
    EXPECT_FALSE(make_key("", {}));
    EXPECT_FALSE(make_key("two words", {}));
    EXPECT_FALSE(make_key("#", {}));
}

TEST(Key, BearerTokens) {
    struct Case {
        std::string header;
        std::optional<std::string_view> token;
    };
    for (const Case& c : {
             Case{"Bearer abc", "abc"},
             Case{"bearer  abc  ", "abc"},
             Case{"BEARER\tabc", "abc"},
             Case{"Bearer " + std::string(256, 'k'), std::nullopt},  // compared below
             Case{"", std::nullopt},
             Case{"Bearer", std::nullopt},
             Case{"Bearer ", std::nullopt},
             Case{"Basic abc", std::nullopt},
             Case{"Bearerabc", std::nullopt},
             Case{"abc", std::nullopt},
             Case{"Bearer a b", std::nullopt},
             Case{"Bearer a\x01", std::nullopt},
             Case{"Bearer \xC3\xA4", std::nullopt},
             Case{"Bearer " + std::string(257, 'k'), std::nullopt},
         }) {
        if (c.header.size() == 7 + 256) {
            EXPECT_EQ(bearer_token(c.header)->size(), 256U);
        } else {
            EXPECT_EQ(bearer_token(c.header), c.token) << c.header;
        }
    }
}

class KeyFileTest : public ::testing::Test {
  protected:
    KeyFileTest()
        : path_(std::filesystem::temp_directory_path() /
                fmt::format("potluck-keys-{}-{}", ::getpid(),
                            ::testing::UnitTest::GetInstance()->current_test_info()->name())) {}
    ~KeyFileTest() override { std::filesystem::remove(path_); }

    void write(const std::string& text, mode_t mode = 0600) {
        std::ofstream(path_, std::ios::trunc) << text;
        ::chmod(path_.c_str(), mode);
    }
    std::string refusal() {
        const auto file = read_key_file(path_);
        return file ? "read" : file.error().message;
    }
    std::filesystem::path path_;
};

TEST_F(KeyFileTest, IsRead) {
    write("alice " + kHashA + "\n");
    const auto file = read_key_file(path_);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->keys.size(), 1U);
    EXPECT_EQ(file->stamp, stamp_of(path_).value());
    write("alice " + kHashA + "\n\n");
    EXPECT_NE(file->stamp, stamp_of(path_).value());
}

TEST_F(KeyFileTest, UnsafeOnesAreRefused) {
    EXPECT_NE(refusal().find("cannot be read"), std::string::npos);
    write("alice " + kHashA + "\n", 0644);
    EXPECT_EQ(refusal(), "read");
    write("alice " + kHashA + "\n", 0602);
    EXPECT_NE(refusal().find("chmod o-w"), std::string::npos) << refusal();
    write("alice\n");
    EXPECT_NE(refusal().find(path_.string() + ":1:"), std::string::npos) << refusal();
    write(std::string(2'000'000, '\n'));
    EXPECT_NE(refusal().find("larger than"), std::string::npos) << refusal();
    std::filesystem::remove(path_);
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    EXPECT_NE(refusal().find("not a regular file"), std::string::npos) << refusal();
}

ApiKey key_of(const std::string& name, const std::string& secret, KeyLimits limits = {}) {
    return {name, hash_key(secret), limits};
}

TEST(KeyTable, NamesKeepTheirTenantAndTheirUse) {
    const AdmissionTime now{};
    KeyTable table;
    table.replace({key_of("a", "1"), key_of("b", "2", {.tokens_per_minute = 10})}, now);
    const auto a = table.find("1");
    const auto b = table.find("2");
    ASSERT_TRUE(a && b);
    EXPECT_EQ(table.find("3"), nullptr);
    EXPECT_EQ(a->tenant, TenantId(1));
    EXPECT_EQ(b->tenant, TenantId(2));
    b->account.charge(10, now);
    // Another order, a new key for b, a newcomer, nobody called a.
    table.replace({key_of("c", "3"), key_of("b", "22", {.tokens_per_minute = 10})}, now);
    EXPECT_EQ(table.find("1"), nullptr);
    EXPECT_EQ(table.find("2"), nullptr);
    ASSERT_TRUE(table.find("22"));
    EXPECT_EQ(table.find("22"), b);
    EXPECT_EQ(table.find("22")->account.tokens().level(now), 0);
    EXPECT_EQ(table.find("3")->tenant, TenantId(3));
    // Whoever is called a later does not get what the first a left.
    table.replace({key_of("a", "1")}, now);
    EXPECT_EQ(table.find("1")->tenant, TenantId(4));
}

TEST(RateLimit, HeadersTellLimitsRestAndReset) {
    const AdmissionTime now{};
    KeyAccount account({.requests_per_minute = 60, .tokens_per_minute = 6000}, now);
    ASSERT_FALSE(account.enter(now));
    account.charge(6500, now);
    EXPECT_EQ(rate_limit_headers(account, now), (Headers{{"x-ratelimit-limit-requests", "60"},
                                                         {"x-ratelimit-remaining-requests", "59"},
                                                         {"x-ratelimit-reset-requests", "1s"},
                                                         {"x-ratelimit-limit-tokens", "6000"},
                                                         {"x-ratelimit-remaining-tokens", "0"},
                                                         {"x-ratelimit-reset-tokens", "1m5s"}}));
    EXPECT_TRUE(rate_limit_headers(KeyAccount({}, now), now).empty());
}

TEST(RateLimit, Durations) {
    EXPECT_EQ(duration_text(0ms), "0ms");
    EXPECT_EQ(duration_text(20ms), "20ms");
    EXPECT_EQ(duration_text(1ms * 1001), "2s");
    EXPECT_EQ(duration_text(60s), "1m0s");
    EXPECT_EQ(duration_text(3725s), "1h2m5s");
}

TEST(RateLimit, ErrorsSayHowLongToWait) {
    const ApiError tokens = limit_error({KeyLimit::kTokensPerMinute, 600, 1ms * 1200}, "alice", 9s);
    EXPECT_EQ(tokens.status, 429U);
    EXPECT_EQ(tokens.type, "tokens");
    EXPECT_EQ(tokens.code, "rate_limit_exceeded");
    EXPECT_EQ(tokens.retry_after, 2s);
    EXPECT_EQ(tokens.message,
              "Rate limit reached for key 'alice' on tokens per minute: limit 600. Please try "
              "again in 2s.");
    const ApiError places = limit_error({KeyLimit::kRequestsAtOnce, 4, 0ms}, "alice", 9s);
    EXPECT_EQ(places.type, "requests");
    EXPECT_EQ(places.retry_after, 9s);
}

}  // namespace
}  // namespace potluck::coordinator::api
