#include "coordinator/core/prefix_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"

namespace potluck::coordinator {
namespace {

using ::testing::UnorderedElementsAre;

constexpr TenantId kOne{1};
constexpr TenantId kTwo{2};

using Tokens = std::vector<TokenId>;

TEST(PrefixCache, FindsTheLongestBeginning) {
    PrefixCache cache;
    cache.insert(SeqId(1), kOne, {1, 2, 3, 4}, true);
    cache.insert(SeqId(2), kOne, {1, 2, 9}, false);
    EXPECT_EQ(cache.find(kOne, Tokens{1, 2, 3, 4, 5}).seq, SeqId(1));
    EXPECT_EQ(cache.find(kOne, Tokens{1, 2, 3, 4, 5}).length, 4U);
    EXPECT_EQ(cache.find(kOne, Tokens{1, 2, 3, 7}).length, 3U);
    EXPECT_EQ(cache.find(kOne, Tokens{1, 2, 9, 9}).seq, SeqId(2));
    EXPECT_EQ(cache.find(kOne, Tokens{1, 2}).length, 2U);
    EXPECT_EQ(cache.find(kOne, Tokens{1, 8}).length, 1U);
    EXPECT_EQ(cache.find(kOne, Tokens{8}).seq, SeqId(0));
    EXPECT_EQ(cache.find(kOne, Tokens{}).seq, SeqId(0));
}

TEST(PrefixCache, TenantsSeeNothingOfEachOther) {
    PrefixCache cache;
    cache.insert(SeqId(1), kOne, {1, 2, 3}, true);
    EXPECT_EQ(cache.find(kTwo, Tokens{1, 2, 3}).length, 0U);
    cache.insert(SeqId(2), kTwo, {1, 2}, true);
    EXPECT_EQ(cache.find(kTwo, Tokens{1, 2, 3}).seq, SeqId(2));
    EXPECT_FALSE(cache.is_beginning(SeqId(2)));
}

TEST(PrefixCache, TheOldestIsTheOneNotUsedForLongest) {
    PrefixCache cache;
    cache.insert(SeqId(1), kOne, {1}, true);
    cache.insert(SeqId(2), kOne, {2}, true);
    cache.insert(SeqId(3), kOne, {3}, false);
    EXPECT_EQ(cache.oldest(), SeqId(1));
    cache.touch(SeqId(1));
    EXPECT_EQ(cache.oldest(), SeqId(2));
    cache.erase(SeqId(2));
    EXPECT_EQ(cache.oldest(), SeqId(1));
    cache.erase(SeqId(1));
    EXPECT_EQ(cache.oldest(), std::nullopt);  // the live one is not for dropping
    EXPECT_EQ(cache.kept_count(), 0U);
    EXPECT_EQ(cache.size(), 1U);
}

TEST(PrefixCache, KnowsWhatIsABeginningOfWhat) {
    PrefixCache cache;
    cache.insert(SeqId(1), kOne, {1, 2}, true);
    cache.insert(SeqId(2), kOne, {1, 2, 3, 4}, true);
    cache.insert(SeqId(3), kOne, {1, 2, 3}, false);
    cache.insert(SeqId(4), kOne, {1, 7}, true);
    EXPECT_TRUE(cache.is_beginning(SeqId(1)));
    EXPECT_TRUE(cache.is_beginning(SeqId(3)));
    EXPECT_FALSE(cache.is_beginning(SeqId(2)));
    EXPECT_FALSE(cache.is_beginning(SeqId(4)));
    EXPECT_THAT(cache.beginnings_of(SeqId(2)), UnorderedElementsAre(SeqId(1)));
    EXPECT_TRUE(cache.beginnings_of(SeqId(4)).empty());
}

TEST(PrefixCache, ShortenedOnesKeepTheirAge) {
    PrefixCache cache;
    cache.insert(SeqId(1), kOne, {1, 2, 3}, true);
    cache.insert(SeqId(2), kOne, {1, 2, 4}, true);
    cache.shorten(SeqId(1), 2);
    EXPECT_EQ(cache.oldest(), SeqId(1));
    EXPECT_EQ(cache.find(kOne, Tokens{1, 2, 3}).length, 2U);
    EXPECT_TRUE(cache.is_beginning(SeqId(1)));
}

// Against a list of all sequences.
TEST(PrefixCache, IsWhatAListWouldSay) {
    std::uint64_t draws = 0;
    const auto pick = [&](std::uint32_t n) {
        return static_cast<std::uint32_t>(uniform(11, draws++) * n);
    };
    PrefixCache cache;
    std::map<SeqId, std::pair<TenantId, Tokens>> list;
    const auto random_tokens = [&] {
        Tokens tokens(1 + pick(9));
        for (auto& token : tokens)
            token = static_cast<TokenId>(pick(2));
        return tokens;
    };
    const auto shared = [](const Tokens& a, const Tokens& b) {
        std::size_t n = 0;
        while (n < a.size() && n < b.size() && a[n] == b[n])
            ++n;
        return n;
    };
    for (int step = 0; step < 20'000; ++step) {
        const SeqId seq(1 + pick(12));
        const TenantId tenant(pick(2));
        if (pick(3) == 0) {
            cache.erase(seq);
            list.erase(seq);
        } else {
            const Tokens tokens = random_tokens();
            cache.insert(seq, tenant, tokens, pick(2) == 0);
            list[seq] = {tenant, tokens};
        }
        const Tokens wanted = random_tokens();
        std::size_t best = 0;
        for (const auto& [other, entry] : list) {
            if (entry.first == tenant) best = std::max(best, shared(entry.second, wanted));
        }
        const auto match = cache.find(tenant, wanted);
        ASSERT_EQ(match.length, best);
        if (best > 0) {
            ASSERT_EQ(list.at(match.seq).first, tenant);
            ASSERT_EQ(shared(list.at(match.seq).second, wanted), best);
        }
        ASSERT_EQ(cache.size(), list.size());
    }
}

}  // namespace
}  // namespace potluck::coordinator
