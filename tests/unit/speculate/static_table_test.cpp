#include "coordinator/speculate/static_table.h"

#include <gmock/gmock.h>

#include "base/rng.h"
#include "coordinator/speculate/drafter.h"
#include "tests/support/random_text.h"

namespace potluck::coordinator {
namespace drafters {
const DrafterKind& ngram_cache();
}
namespace {

constexpr VocabularyId kVocabulary{.size = 100, .fingerprint = 0x1234};

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
}

StaticTable make(std::vector<std::vector<TokenId>> texts) {
    auto table = StaticTable::make(texts, kVocabulary);
    EXPECT_TRUE(table) << table.error().message;
    return std::move(*table);
}

TEST(StaticTable, HoldsWhatUsuallyFollows) {
    const auto table =
        make({{1, 2, 3, 1, 2, 3, 1, 2, 4}, {1, 2, 3}, {5, 6, 7}, {8, 9, 1, 8, 9, 2}});
    const auto best = table.best(1, 2);
    ASSERT_TRUE(best);
    EXPECT_EQ(best->token, 3);
    EXPECT_EQ(best->count, 3U);
    EXPECT_EQ(best->total, 4U);
    EXPECT_FALSE(table.best(2, 1));
    EXPECT_FALSE(table.best(5, 6));  // once
    ASSERT_TRUE(table.best(8, 9));   // one half each: the lower id
    EXPECT_EQ(table.best(8, 9)->token, 1);
    EXPECT_FALSE(table.best(3, 5));  // of two texts
    EXPECT_EQ(table.size(), 4U);     // 12 23 31 89
}

TEST(StaticTable, ASuccessorThatIsTooRareIsNone) {
    EXPECT_FALSE(make({{1, 2, 3}, {1, 2, 4}, {1, 2, 5}}).best(1, 2));
}

TEST(StaticTable, RefusesTokensThatThereAreNot) {
    for (const TokenId token : {-1, 100}) {
        const auto table =
            StaticTable::make(std::vector<std::vector<TokenId>>{{1, token}}, kVocabulary);
        ASSERT_FALSE(table);
        EXPECT_EQ(table.error().code, ErrorCode::kInvalidArgument);
    }
}

TEST(StaticTable, TheFileIsTheTable) {
    std::vector<std::vector<TokenId>> texts;
    for (std::uint64_t seed = 1; seed < 20; ++seed) {
        const auto text = random_text(seed, 500, 90);
        texts.push_back(text);
        texts.push_back(text);
    }
    const auto table = make(texts);
    ASSERT_GT(table.size(), 100U);
    const auto file = table.to_bytes();
    EXPECT_EQ(file.size(), 40 + 20 * table.size());
    const auto read = StaticTable::parse(bytes_of(file), kVocabulary);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->size(), table.size());
    EXPECT_EQ(read->to_bytes(), file);
    for (TokenId a = 0; a < 90; ++a) {
        for (TokenId b = 0; b < 90; ++b) {
            const auto x = table.best(a, b), y = read->best(a, b);
            ASSERT_EQ(x.has_value(), y.has_value());
            if (x) {
                EXPECT_EQ(x->token, y->token);
            }
        }
    }
    EXPECT_TRUE(StaticTable::parse(bytes_of(make({}).to_bytes()), kVocabulary));
}

TEST(StaticTable, SaysWhatIsWrongWithAFile) {
    const auto file = make({{1, 2, 3, 1, 2, 3, 1, 2, 3}}).to_bytes();
    const auto refused = [&](const std::string& bytes, const VocabularyId& vocabulary) {
        const auto read = StaticTable::parse(bytes_of(bytes), vocabulary);
        EXPECT_FALSE(read);
        return read ? Error{} : read.error();
    };
    EXPECT_EQ(refused(file, {.size = 101, .fingerprint = 0x1234}).code,
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(refused(file, {.size = 100, .fingerprint = 1}).code, ErrorCode::kInvalidArgument);
    auto other = file;
    other[8] = 2;
    EXPECT_EQ(refused(other, kVocabulary).code, ErrorCode::kUnsupported);
    for (std::size_t size = 0; size < file.size(); ++size)
        EXPECT_EQ(refused(file.substr(0, size), kVocabulary).code, ErrorCode::kCorrupt) << size;
    EXPECT_EQ(refused(file + "x", kVocabulary).code, ErrorCode::kCorrupt);
    EXPECT_THAT(refused("GGUF" + file.substr(4), kVocabulary).message,
                testing::HasSubstr("not a table"));
    // Every single changed byte is noticed.
    for (std::size_t i = 0; i < file.size(); ++i) {
        auto changed = file;
        changed[i] = static_cast<char>(changed[i] ^ 0x41);
        refused(changed, kVocabulary);
    }
}

/// With a sum that fits: what is inside is checked as well.
std::string with_sum(std::string file) {
    std::uint64_t h = 0xCBF29CE484222325;
    for (std::size_t i = 40; i < file.size(); ++i)
        h = (h ^ static_cast<unsigned char>(file[i])) * 0x100000001B3;
    for (std::size_t i = 0; i < 8; ++i)
        file[32 + i] = static_cast<char>(h >> (8 * i));
    return file;
}

TEST(StaticTable, NoDamageIsBelieved) {
    const auto file = make({{1, 2, 3, 1, 2, 3, 1, 2, 3}}).to_bytes();
    ASSERT_EQ(with_sum(file), file);
    std::size_t refused = 0, taken = 0;
    for (std::uint32_t round = 0; round < 4000; ++round) {
        auto changed = file;
        const auto changes = 1 + round % 4;
        for (std::uint32_t i = 0; i < changes; ++i) {
            const auto at = 24 + static_cast<std::size_t>(uniform(1, round, i) *
                                                          static_cast<double>(file.size() - 24));
            changed[at] = static_cast<char>(uniform(2, round, i) * 256);
        }
        const auto read = StaticTable::parse(bytes_of(with_sum(changed)), kVocabulary);
        if (!read) {
            ++refused;
            continue;
        }
        ++taken;
        // What is taken is well formed: it is written as it was read, and drafts tokens that exist.
        EXPECT_EQ(read->to_bytes(), with_sum(changed));
        for (TokenId a = 0; a < 100; ++a) {
            for (TokenId b = 0; b < 100; ++b) {
                const auto best = read->best(a, b);
                if (best) {
                    ASSERT_LT(best->token, 100);
                    ASSERT_GE(best->token, 0);
                }
            }
        }
    }
    EXPECT_GT(refused, 1000U);
    EXPECT_GT(taken, 10U);
}

TEST(NgramCache, LooksIntoTheStaticTableLast) {
    const auto table = std::make_shared<const StaticTable>(
        make({{1, 2, 3, 4}, {1, 2, 3, 4}, {2, 3, 4, 5}, {2, 3, 4, 5}, {3, 4, 5}}));
    const auto drafter = drafters::ngram_cache().make({.static_table = table});
    const auto propose = [&](std::uint64_t number) {
        Proposal proposal;
        drafter->propose(number, {}, 8, proposal);
        return proposal;
    };
    // The context has nothing behind (1, 2): the table goes on, from pair to pair.
    drafter->begin(1, TenantId{}, std::vector<TokenId>{9, 1, 2}, {});
    auto proposal = propose(1);
    EXPECT_THAT(proposal.tokens, testing::ElementsAre(3, 4, 5));
    EXPECT_EQ(proposal.origin, Origin::kStatic);
    // What the sequence says itself counts more.
    drafter->begin(2, TenantId{}, std::vector<TokenId>{9, 8, 1, 2, 7, 7, 9, 8, 1, 2}, {});
    proposal = propose(2);
    ASSERT_FALSE(proposal.tokens.empty());
    EXPECT_EQ(proposal.tokens.front(), 7);
    EXPECT_EQ(proposal.origin, Origin::kSequence);
    // One token is no pair.
    drafter->begin(3, TenantId{}, std::vector<TokenId>{1}, {});
    EXPECT_TRUE(propose(3).tokens.empty());
}

}  // namespace
}  // namespace potluck::coordinator
