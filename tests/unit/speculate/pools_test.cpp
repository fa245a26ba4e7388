#include <gmock/gmock.h>

#include "coordinator/speculate/drafter.h"
#include "coordinator/speculate/ngram_table.h"
#include "coordinator/speculate/past_outputs.h"
#include "coordinator/speculate/tenant_pools.h"
#include "coordinator/speculate/token_pool.h"
#include "tests/support/random_text.h"

namespace potluck::coordinator {
namespace {

using testing::ElementsAre;

TEST(PastOutputs, GoesOnWithWhatWasSaid) {
    PastOutputs past;
    past.add(std::vector<TokenId>{1, 2, 3, 4, 5, 6});
    PastOutputs::Place place;
    for (const TokenId token : {9, 2, 3})
        past.step(place, token);
    EXPECT_EQ(past.length(place), 2U);
    std::vector<TokenId> out;
    past.draft(place, 10, out);
    EXPECT_THAT(out, ElementsAre(4, 5, 6));
}

TEST(PastOutputs, KeepsTheNewestAndStaysBounded) {
    PastOutputs past;
    PastOutputs::Place place;
    const auto first = random_text(1, 1000);
    past.add(first);
    for (std::size_t i = 0; i < 10; ++i)
        past.step(place, first[i]);
    EXPECT_EQ(past.length(place), 10U);
    for (std::uint64_t i = 2; i < 200; ++i) {
        past.add(random_text(i, 1000));
        ASSERT_LE(past.tokens(), 2 * PastOutputs::kTokens);
    }
    EXPECT_GE(past.tokens(), PastOutputs::kTokens);
    // A place of long ago knows nothing, and reads on without harm.
    EXPECT_EQ(past.length(place), 0U);
    const auto newest = random_text(199, 1000);
    for (std::size_t i = 0; i < 20; ++i)
        past.step(place, newest[i]);
    std::vector<TokenId> out;
    past.draft(place, 2, out);
    EXPECT_THAT(out, ElementsAre(newest[20], newest[21]));
}

TEST(TenantPools, TheOneThatWasIdleLongestLosesItsPool) {
    TenantPools<int> pools(2);
    int made = 0;
    const auto make = [&] { return std::make_shared<int>(++made); };
    EXPECT_EQ(*pools.of(TenantId{1}, make), 1);
    const auto second = pools.of(TenantId{2}, make);
    EXPECT_EQ(*pools.of(TenantId{1}, make), 1);
    EXPECT_EQ(*pools.of(TenantId{3}, make), 3);
    EXPECT_EQ(*pools.of(TenantId{1}, make), 1);
    EXPECT_EQ(*pools.of(TenantId{2}, make), 4);
    EXPECT_EQ(*second, 2);  // whoever still uses it keeps it
}

std::uint64_t rolled(const std::vector<TokenId>& text, std::size_t n) {
    RollingHash hash(n);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (i < n) {
            hash.add(text[i]);
        } else {
            hash.roll(text[i - n], text[i]);
        }
    }
    return hash.mixed();
}

TEST(RollingHash, DependsOnTheLastNTokensAlone) {
    const auto text = random_text(3, 100);
    for (const std::size_t n : {1U, 3U, 24U}) {
        for (std::size_t from = 0; from + n <= text.size(); ++from) {
            const std::vector<TokenId> tail(text.begin() + static_cast<std::ptrdiff_t>(from),
                                            text.end());
            ASSERT_EQ(rolled(tail, n), rolled(text, n));
        }
    }
    EXPECT_NE(rolled({1, 2, 3}, 3), rolled({1, 3, 2}, 3));
}

TEST(TokenPool, FingerprintsKeepStrangersOut) {
    TokenPool pool(1 << 12);
    for (std::uint64_t i = 0; i < 1000; ++i)
        pool.put(rolled(random_text(i, 24), 24), static_cast<TokenId>(i));
    std::size_t right = 0, wrong = 0;
    for (std::uint64_t i = 0; i < 1000; ++i) {
        const auto found = pool.get(rolled(random_text(i, 24), 24));
        right += found == static_cast<TokenId>(i) ? 1U : 0U;
        wrong += pool.get(rolled(random_text(i + 5000, 24), 24)) ? 1U : 0U;
    }
    EXPECT_GE(right, 900U);
    EXPECT_EQ(wrong, 0U);
}

TEST(TokenPool, TheNewestSuccessorCounts) {
    TokenPool pool(1 << 8);
    pool.put(12345, 1);
    pool.put(12345, 2);
    EXPECT_EQ(pool.get(12345), 2);
}

TEST(TokenPool, AgesInsteadOfBeingCleared) {
    TokenPool pool(1 << 10);
    const auto hash = [](std::uint64_t i) { return (i + 1) * 0x9E3779B97F4A7C15; };
    for (std::uint64_t i = 0; i < 256; ++i)
        pool.put(hash(i), 1);
    const auto kept = [&](std::uint64_t from, std::uint64_t to) {
        std::size_t n = 0;
        for (std::uint64_t i = from; i < to; ++i)
            n += pool.get(hash(i)) ? 1U : 0U;
        return n;
    };
    // A generation later most of it is still there, and a long time later nothing but the new.
    for (std::uint64_t i = 256; i < 512; ++i)
        pool.put(hash(i), 1);
    EXPECT_GE(kept(0, 256), 150U);
    for (std::uint64_t i = 512; i < 6000; ++i)
        pool.put(hash(i), 1);
    EXPECT_LE(kept(0, 256), 10U);
    EXPECT_GE(kept(5744, 6000), 200U);
    EXPECT_GE(pool.generation(), 10U);
}

TEST(NgramTable, CountsAndStaysBounded) {
    NgramTable table(512);
    const std::vector<TokenId> ab{1, 2};
    for (const TokenId token : {7, 8, 7, 9, 7})
        table.add(ngram_key(ab), token);
    const auto best = table.best(ngram_key(ab));
    ASSERT_TRUE(best);
    EXPECT_EQ(best->token, 7);
    EXPECT_EQ(best->count, 3U);
    EXPECT_EQ(best->total, 5U);
    EXPECT_FALSE(table.best(ngram_key(std::vector<TokenId>{2, 1})));
    EXPECT_FALSE(table.best(ngram_key(std::vector<TokenId>{1})));
    for (TokenId i = 0; i < 5000; ++i)
        table.add(ngram_key(std::vector<TokenId>{i, i}), i);
    EXPECT_LE(table.size(), 512U);
    EXPECT_LE(table.bytes(), 512U * 32);
}

/// Every drafter that comes with the build.
TEST(Drafters, TenantsNeverShareHints) {
    const auto prompt = random_text(11, 80);
    const auto answer = random_text(12, 200);
    for (const auto* kind : drafters::drafter_kinds()) {
        const auto drafter = kind->make({});
        if (!drafter) continue;  // a draft model knows no text but the sequence's own
        const auto draft = [&](std::uint64_t number, TenantId tenant) {
            drafter->begin(number, tenant, prompt, "");
            drafter->observe(number, std::span(answer).first(30));
            Proposal proposal;
            drafter->propose(number, {}, 8, proposal);
            drafter->end(number);
            return proposal.tokens;
        };
        for (const std::uint64_t number : {1U, 4U}) {  // ngram_cache wants to see a thing twice
            drafter->begin(number, TenantId{1}, prompt, "");
            drafter->observe(number, answer);
            drafter->end(number);
        }
        EXPECT_TRUE(draft(2, TenantId{2}).empty()) << kind->name;
        const auto own = draft(3, TenantId{1});
        if (kind->name == "stage") continue;  // has no memory of its own
        ASSERT_FALSE(own.empty()) << kind->name;
        EXPECT_EQ(own.front(), answer[30]) << kind->name;
    }
}

TEST(Drafters, AStageProposesForItsPositionOnly) {
    std::unique_ptr<Drafter> stage;
    for (const auto* kind : drafters::drafter_kinds()) {
        if (kind->name == "stage") stage = kind->make({});
    }
    ASSERT_NE(stage, nullptr);
    stage->begin(1, TenantId{}, {}, "");
    stage->observe(1, std::vector<TokenId>{5});
    stage->proposed_by_stage(1, std::vector<TokenId>{6, 7, 8});
    const auto draft = [&](std::vector<TokenId> behind) {
        Proposal proposal;
        stage->propose(1, behind, 8, proposal);
        return proposal.tokens;
    };
    EXPECT_THAT(draft({}), ElementsAre(6, 7, 8));
    EXPECT_THAT(draft({6}), ElementsAre(7, 8));
    EXPECT_TRUE(draft({7}).empty());
    stage->observe(1, std::vector<TokenId>{6});
    EXPECT_THAT(draft({}), ElementsAre(7, 8));
    stage->observe(1, std::vector<TokenId>{9});
    EXPECT_TRUE(draft({}).empty());
}

}  // namespace
}  // namespace potluck::coordinator
