#include "coordinator/core/admission.h"

#include <gtest/gtest.h>

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

constexpr AdmissionTime kStart{};  // the times are all given

AdmissionTime at(std::chrono::nanoseconds after) {
    return kStart + std::chrono::duration_cast<AdmissionTime::duration>(after);
}

TEST(TokenBucket, FillsAtItsRateAndHoldsOneMinute) {
    struct Step {
        std::chrono::milliseconds time;
        std::uint64_t charge;
        std::int64_t level;              // after it
        std::chrono::milliseconds wait;  // for one more
        std::chrono::milliseconds full;
    };
    TokenBucket bucket(60, kStart);  // one per second
    for (const Step& step : {
             Step{0ms, 0, 60, 0ms, 0ms},              // full from the start
             Step{0ms, 59, 1, 0ms, 59'000ms},         //
             Step{0ms, 1, 0, 1'000ms, 60'000ms},      // empty
             Step{999ms, 0, 0, 1ms, 59'001ms},        // not yet
             Step{1'000ms, 1, 0, 1'000ms, 60'000ms},  //
             Step{3'500ms, 0, 2, 0ms, 57'500ms},      // half a token is kept …
             Step{4'000ms, 0, 3, 0ms, 57'000ms},      // … and not forgotten
             Step{4'000ms, 10, -7, 8'000ms, 67'000ms}, Step{11'000ms, 0, 0, 1'000ms, 60'000ms},
             Step{1'000'000ms, 0, 60, 0ms, 0ms},  // no more than a minute's worth
         }) {
        SCOPED_TRACE(step.time.count());
        bucket.charge(step.charge, at(step.time));
        EXPECT_EQ(bucket.level(at(step.time)), step.level);
        EXPECT_EQ(bucket.wait_for(1, at(step.time)), step.wait);
        EXPECT_EQ(bucket.until_full(at(step.time)), step.full);
    }
}

TEST(TokenBucket, ManySmallLooksLoseNothing) {
    TokenBucket bucket(7, kStart);
    bucket.charge(7, kStart);
    // Looks and charges at every 0.3 ms for 30 s: 3.5 tokens, whatever the rounding of each.
    for (int i = 1; i <= 100'000; ++i)
        bucket.charge(0, at(300us * i));
    EXPECT_EQ(bucket.level(at(30s)), 3);
    EXPECT_EQ(bucket.wait_for(4, at(30s)), 4'286ms);  // 3.5 + 7/60 × 4.286 ≥ 4
    EXPECT_LT(bucket.level(at(30s + 4'285ms)), 4);
    EXPECT_EQ(bucket.level(at(30s + 4'286ms)), 4);
}

TEST(TokenBucket, MoreThanAMinutesWorthWaitsForAFullBucket) {
    TokenBucket bucket(100, kStart);
    EXPECT_EQ(bucket.wait_for(1'000'000, kStart), 0ms);
    bucket.charge(1, kStart);
    EXPECT_EQ(bucket.wait_for(1'000'000, kStart), 600ms);
}

TEST(TokenBucket, DebtIsBounded) {
    TokenBucket bucket(1, kStart);
    bucket.charge(std::uint64_t{1} << 60, kStart);
    EXPECT_EQ(bucket.level(kStart), -1440);  // a day
    bucket.charge(std::uint64_t{1} << 60, kStart);
    EXPECT_EQ(bucket.level(kStart), -1440);
    TokenBucket wide(kMaxPerMinute, kStart);
    wide.charge(std::uint64_t{1} << 63, kStart);
    EXPECT_EQ(wide.level(kStart), -1440 * static_cast<std::int64_t>(kMaxPerMinute));
    EXPECT_EQ(wide.level(at(24h * 365)), static_cast<std::int64_t>(kMaxPerMinute));
}

TEST(TokenBucket, WithoutLimitNothingWaits) {
    TokenBucket bucket(0, kStart);
    EXPECT_FALSE(bucket.limited());
    bucket.charge(1'000'000, kStart);
    EXPECT_EQ(bucket.wait_for(1'000'000, kStart), 0ms);
}

TEST(TokenBucket, AnotherRateKeepsWhatWasUsed) {
    TokenBucket bucket(60, kStart);
    bucket.charge(50, kStart);
    bucket.set_rate(100, kStart);
    EXPECT_EQ(bucket.level(kStart), 50);
    bucket.set_rate(20, kStart);
    EXPECT_EQ(bucket.level(kStart), -30);
    bucket.set_rate(0, kStart);
    EXPECT_EQ(bucket.wait_for(1, kStart), 0ms);
    bucket.set_rate(10, kStart);
    EXPECT_EQ(bucket.level(kStart), 10);
    bucket.charge(10, kStart);
    bucket.set_rate(10, kStart);  // the same file again gives nobody a new minute
    EXPECT_EQ(bucket.level(kStart), 0);
}

TEST(KeyAccount, WithoutLimitsEverythingEnters) {
    KeyAccount account({}, kStart);
    for (int i = 0; i < 1000; ++i) {
        EXPECT_FALSE(account.enter(kStart));
        EXPECT_FALSE(account.take_prompts(1'000'000, kStart));
        account.charge(1'000'000, kStart);
    }
}

TEST(KeyAccount, PlacesAreGivenBack) {
    KeyAccount account({.max_requests = 2, .requests_per_minute = 3}, kStart);
    EXPECT_FALSE(account.enter(kStart));
    EXPECT_FALSE(account.enter(kStart));
    const auto refused = account.enter(kStart);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->limit, KeyLimit::kRequestsAtOnce);
    EXPECT_EQ(refused->bound, 2U);
    EXPECT_EQ(refused->wait, 0ms);
    EXPECT_EQ(account.requests().level(kStart), 1) << "a refused request was counted";
    account.leave();
    EXPECT_FALSE(account.enter(kStart));
    account.leave();
    const auto too_many = account.enter(kStart);
    ASSERT_TRUE(too_many);
    EXPECT_EQ(too_many->limit, KeyLimit::kRequestsPerMinute);
    EXPECT_EQ(too_many->bound, 3U);
    EXPECT_EQ(too_many->wait, 20'000ms);
    EXPECT_EQ(account.at_once(), 1U);
    EXPECT_FALSE(account.enter(at(20s)));
}

TEST(KeyAccount, AnswersAreChargedAfterwards) {
    KeyAccount account({.tokens_per_minute = 600}, kStart);
    EXPECT_FALSE(account.enter(kStart));
    EXPECT_FALSE(account.take_prompts(500, kStart));
    EXPECT_FALSE(account.enter(kStart));
    const auto refused = account.take_prompts(200, kStart);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->limit, KeyLimit::kTokensPerMinute);
    EXPECT_EQ(refused->wait, 10'000ms);
    EXPECT_EQ(account.tokens().level(kStart), 100) << "refused prompts were counted";
    account.charge(400, kStart);  // an answer that nobody knew would be so long
    const auto in_debt = account.enter(kStart);
    ASSERT_TRUE(in_debt);
    EXPECT_EQ(in_debt->limit, KeyLimit::kTokensPerMinute);
    EXPECT_EQ(in_debt->wait, 30'100ms);
    EXPECT_FALSE(account.enter(at(30'100ms)));
}

TEST(KeyAccount, ANewFileForgetsNothing) {
    KeyAccount account({.max_requests = 1, .tokens_per_minute = 100}, kStart);
    EXPECT_FALSE(account.enter(kStart));
    account.charge(100, kStart);
    account.set_limits({.max_requests = 1, .tokens_per_minute = 100}, kStart);
    EXPECT_TRUE(account.enter(at(30s)));  // one is under way
    account.leave();
    EXPECT_FALSE(account.enter(at(30s)));
    EXPECT_EQ(account.tokens().level(at(30s)), 50);
}

}  // namespace
}  // namespace potluck::coordinator
