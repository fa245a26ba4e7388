#include "engine/page_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace potluck::engine {
namespace {

using ::testing::HasSubstr;

constexpr SeqId kA{1};
constexpr SeqId kB{2};
constexpr SeqId kC{3};

Operation operation(OperationKind kind, SeqId seq, std::uint32_t length = 0) {
    return {.kind = kind, .seq = seq, .length = length};
}
Operation open(SeqId seq) {
    return operation(OperationKind::kOpen, seq);
}
Operation fork(SeqId to, SeqId from, std::uint32_t length) {
    return {.kind = OperationKind::kFork, .seq = to, .source = from, .length = length};
}
Operation mark(OperationKind kind, SeqId seq, std::uint64_t checkpoint) {
    return {.kind = kind, .seq = seq, .checkpoint = checkpoint};
}
constexpr auto kTruncate = OperationKind::kTruncate;
constexpr auto kCommit = OperationKind::kCommit;
constexpr auto kCheckpoint = OperationKind::kCheckpoint;
constexpr auto kRestore = OperationKind::kRestore;
constexpr auto kRelease = OperationKind::kRelease;

/// A table that a test can extend by many positions at once.
struct Table : PageTable {
    using PageTable::PageTable;
    std::vector<PageCopy> copies;

    /// Appends n positions; the places they got.
    std::vector<std::int32_t> grow(SeqId seq, std::size_t n) {
        std::vector<std::int32_t> places;
        for (std::size_t i = 0; i < n; ++i) {
            const auto place = append(seq, length(seq), copies);
            EXPECT_TRUE(place) << place.error().message;
            if (place) places.push_back(*place);
        }
        return places;
    }
    std::vector<PageIndex> list(SeqId seq) const { return {pages(seq).begin(), pages(seq).end()}; }
};

TEST(PageTable, PlacesFollowOneAnotherWithinAPage) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.apply(open(kA)));
    const auto places = t.grow(kA, 10);
    const auto pages = t.list(kA);
    ASSERT_EQ(pages.size(), 3U);
    for (std::size_t i = 0; i < 10; ++i)
        EXPECT_EQ(places[i], pages[i / 4] * 4 + static_cast<int>(i % 4));
    EXPECT_EQ(t.length(kA), 10U);
    EXPECT_EQ(t.free_pages(), 5U);
    EXPECT_TRUE(t.copies.empty());
    EXPECT_TRUE(t.apply(operation(kRelease, kA)));
    EXPECT_EQ(t.free_pages(), 8U);
    EXPECT_FALSE(t.contains(kA));
    EXPECT_EQ(t.length(kA), 0U);
    EXPECT_TRUE(t.list(kA).empty());
}

TEST(PageTable, ForkOfAThousandTokensTakesNoPage) {
    Table t(20, 64, 4096);
    ASSERT_TRUE(t.apply(open(kA)));
    t.grow(kA, 1000);
    const auto free = t.free_pages();
    EXPECT_EQ(free, 4U);
    for (std::uint64_t seq = 10; seq < 60; ++seq) {
        ASSERT_TRUE(t.apply(open(SeqId(seq))));
        ASSERT_TRUE(t.apply(fork(SeqId(seq), kA, 1000)));
        EXPECT_EQ(t.list(SeqId(seq)), t.list(kA));
        EXPECT_EQ(t.length(SeqId(seq)), 1000U);
    }
    EXPECT_EQ(t.free_pages(), free);
    ASSERT_TRUE(t.apply(operation(kRelease, kA)));
    EXPECT_EQ(t.free_pages(), free);
    for (std::uint64_t seq = 10; seq < 60; ++seq)
        ASSERT_TRUE(t.apply(operation(kRelease, SeqId(seq))));
    EXPECT_EQ(t.free_pages(), 20U);
}

TEST(PageTable, WhoeverAppendsFirstCopies) {
    for (const bool source_first : {true, false}) {
        Table t(8, 4, 100);
        ASSERT_TRUE(t.apply(open(kA)));
        ASSERT_TRUE(t.apply(open(kB)));
        t.grow(kA, 6);
        ASSERT_TRUE(t.apply(fork(kB, kA, 6)));
        const auto shared = t.list(kA);
        const SeqId first = source_first ? kA : kB;
        const SeqId second = source_first ? kB : kA;
        EXPECT_EQ(t.pages_needed(first, 1), 1U);
        const auto place = t.grow(first, 1);
        ASSERT_EQ(t.copies.size(), 1U);
        EXPECT_EQ(t.copies[0].from, shared[1]);
        EXPECT_EQ(t.copies[0].to, t.list(first)[1]);
        EXPECT_NE(t.copies[0].to, shared[1]);
        EXPECT_EQ(place[0], t.copies[0].to * 4 + 2);
        EXPECT_EQ(t.list(first)[0], shared[0]);
        // The other one is alone on its page now.
        EXPECT_EQ(t.pages_needed(second, 1), 0U);
        EXPECT_EQ(t.grow(second, 1)[0], shared[1] * 4 + 2);
        EXPECT_EQ(t.copies.size(), 1U);
        EXPECT_EQ(t.free_pages(), 5U);
    }
}

TEST(PageTable, ForkAtAPageBorderNeverCopies) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.apply(open(kA)));
    ASSERT_TRUE(t.apply(open(kB)));
    ASSERT_TRUE(t.apply(open(kC)));
    t.grow(kA, 10);
    ASSERT_TRUE(t.apply(fork(kB, kA, 8)));
    ASSERT_TRUE(t.apply(fork(kC, kA, 0)));
    t.grow(kB, 3);
    t.grow(kC, 3);
    EXPECT_TRUE(t.copies.empty());
    EXPECT_EQ(t.list(kB)[1], t.list(kA)[1]);
    EXPECT_NE(t.list(kB)[2], t.list(kA)[2]);
    EXPECT_NE(t.list(kC)[0], t.list(kA)[0]);
}

TEST(PageTable, TruncateThenAppendOnASharedPageCopies) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.apply(open(kA)));
    ASSERT_TRUE(t.apply(open(kB)));
    t.grow(kA, 8);
    ASSERT_TRUE(t.apply(fork(kB, kA, 8)));
    ASSERT_TRUE(t.apply(operation(kTruncate, kA, 5)));
    const auto shared = t.list(kB);
    t.grow(kA, 1);  // position 5 lies within the page that B still reads
    ASSERT_EQ(t.copies.size(), 1U);
    EXPECT_EQ(t.copies[0].from, shared[1]);
    EXPECT_EQ(t.list(kB), shared);
    ASSERT_TRUE(t.apply(operation(kTruncate, kA, 4)));
    EXPECT_EQ(t.list(kA).size(), 1U);
    ASSERT_TRUE(t.apply(operation(kTruncate, kA, 0)));
    EXPECT_TRUE(t.list(kA).empty());
    EXPECT_EQ(t.free_pages(), 6U);
}

TEST(PageTable, CommitHoldsAgainstTruncate) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.apply(open(kA)));
    t.grow(kA, 9);
    ASSERT_TRUE(t.apply(operation(kCommit, kA, 7)));
    ASSERT_TRUE(t.apply(operation(kCommit, kA, 3)));  // an older one takes nothing back
    EXPECT_FALSE(t.apply(operation(kTruncate, kA, 6)));
    EXPECT_EQ(t.length(kA), 9U);
    EXPECT_TRUE(t.apply(operation(kTruncate, kA, 7)));
    EXPECT_EQ(t.length(kA), 7U);
    EXPECT_FALSE(t.apply(operation(kCommit, kA, 8)));
}

TEST(PageTable, CheckpointsComeBack) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.apply(open(kA)));
    t.grow(kA, 5);
    ASSERT_TRUE(t.apply(mark(kCheckpoint, kA, 1)));
    t.grow(kA, 5);
    ASSERT_TRUE(t.apply(mark(kCheckpoint, kA, 2)));
    t.grow(kA, 2);
    ASSERT_TRUE(t.apply(mark(kRestore, kA, 2)));
    EXPECT_EQ(t.length(kA), 10U);
    ASSERT_TRUE(t.apply(mark(kRestore, kA, 1)));
    EXPECT_EQ(t.length(kA), 5U);
    EXPECT_EQ(t.free_pages(), 6U);
    EXPECT_FALSE(t.apply(mark(kRestore, kA, 2)));  // it lay beyond
    ASSERT_TRUE(t.apply(mark(kRestore, kA, 1)));   // it can be used again
    t.grow(kA, 1);
    ASSERT_TRUE(t.apply(mark(kCheckpoint, kA, 1)));  // and moved
    t.grow(kA, 1);
    ASSERT_TRUE(t.apply(mark(kRestore, kA, 1)));
    EXPECT_EQ(t.length(kA), 6U);
}

TEST(PageTable, RestoringBelowACommitMovesTheCommit) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.apply(open(kA)));
    t.grow(kA, 2);
    ASSERT_TRUE(t.apply(mark(kCheckpoint, kA, 1)));
    t.grow(kA, 6);
    ASSERT_TRUE(t.apply(operation(kCommit, kA, 8)));
    ASSERT_TRUE(t.apply(mark(kRestore, kA, 1)));
    t.grow(kA, 4);
    EXPECT_TRUE(t.apply(operation(kTruncate, kA, 3)));
    EXPECT_FALSE(t.apply(operation(kTruncate, kA, 1)));
}

TEST(PageTable, ErrorsNameTheSequenceAndChangeNothing) {
    Table t(4, 4, 12);
    ASSERT_TRUE(t.apply(open(kA)));
    ASSERT_TRUE(t.apply(open(kB)));
    t.grow(kA, 6);
    t.grow(kB, 1);
    ASSERT_TRUE(t.apply(operation(kCommit, kA, 2)));
    const auto before = t.list(kA);
    Operation unknown_kind = open(kA);
    unknown_kind.kind = static_cast<OperationKind>(99);
    const std::vector<std::pair<Operation, std::string>> table = {
        {open(kA), "sequence 1: is opened twice"},
        {fork(kB, kA, 3), "sequence 2: is the target of a fork but not open and empty"},
        {fork(kC, kA, 3), "sequence 3: is the target of a fork but not open and empty"},
        {operation(kTruncate, kA, 7), "sequence 1: cannot be cut to 7"},
        {operation(kTruncate, kA, 1), "sequence 1: cannot be cut to 1"},
        {operation(kCommit, kA, 7), "sequence 1: cannot commit 7"},
        {mark(kRestore, kA, 5), "sequence 1: has no checkpoint 5"},
        {operation(kTruncate, kC, 0), "sequence 3: is not open"},
        {operation(kCommit, kC, 0), "sequence 3: is not open"},
        {mark(kCheckpoint, kC, 0), "sequence 3: is not open"},
        {mark(kRestore, kC, 0), "sequence 3: is not open"},
        {operation(kRelease, kC), "sequence 3: is not open"},
        {unknown_kind, "sequence 1: gets an operation of an unknown kind"},
    };
    for (const auto& [bad, message] : table) {
        const auto status = t.apply(bad);
        ASSERT_FALSE(status) << message;
        EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
        EXPECT_THAT(status.error().message, HasSubstr(message));
        EXPECT_EQ(t.list(kA), before);
        EXPECT_EQ(t.length(kA), 6U);
        EXPECT_EQ(t.length(kB), 1U);
        EXPECT_EQ(t.sequence_count(), 2U);
        EXPECT_EQ(t.free_pages(), 1U);
    }
    ASSERT_TRUE(t.apply(open(kC)));
    EXPECT_FALSE(t.apply(fork(kC, kA, 7)));
    EXPECT_FALSE(t.apply(fork(kC, SeqId(77), 0)));
    EXPECT_EQ(t.length(kC), 0U);
}

TEST(PageTable, AppendErrors) {
    Table t(3, 4, 10);
    ASSERT_TRUE(t.apply(open(kA)));
    t.grow(kA, 5);
    const auto code = [&](SeqId seq, std::uint32_t position) {
        const auto place = t.append(seq, position, t.copies);
        EXPECT_FALSE(place);
        return place ? ErrorCode::kInternal : place.error().code;
    };
    EXPECT_EQ(code(kB, 0), ErrorCode::kCorrupt);
    EXPECT_EQ(code(kA, 4), ErrorCode::kCorrupt);
    EXPECT_EQ(code(kA, 6), ErrorCode::kCorrupt);
    EXPECT_THAT(t.append(kA, 6, t.copies).error().message, HasSubstr("out of step"));
    t.grow(kA, 5);
    EXPECT_EQ(code(kA, 10), ErrorCode::kCorrupt);  // the longest sequence

    ASSERT_TRUE(t.apply(open(kB)));
    EXPECT_EQ(code(kB, 0), ErrorCode::kResourceExhausted);
    EXPECT_EQ(t.length(kB), 0U);
    // A shared page that cannot be copied is not written.
    ASSERT_TRUE(t.apply(fork(kB, kA, 9)));
    EXPECT_EQ(t.pages_needed(kB, 1), 1U);
    EXPECT_EQ(code(kB, 9), ErrorCode::kResourceExhausted);
    EXPECT_EQ(t.length(kB), 9U);
    EXPECT_TRUE(t.copies.empty());
}

Operation open(SeqId seq, std::size_t in_place) {
    Operation o = open(seq);
    o.tokens.resize(in_place);
    return o;
}

TEST(PageTable, KeptSequencesHoldTheirPagesUntilTheyAreOpenedAndReleased) {
    Table before(8, 4, 100);
    ASSERT_TRUE(before.apply(open(kA)));
    ASSERT_TRUE(before.apply(open(kB)));
    before.grow(kB, 3);
    const auto places = before.grow(kA, 10);
    Table t(8, 4, 100);
    const KeptSequence kept[] = {{kA, 9}};
    ASSERT_TRUE(t.keep(before, kept));
    EXPECT_FALSE(t.contains(kA));
    EXPECT_EQ(t.free_pages(), 5U);
    ASSERT_TRUE(t.apply(open(kB)));
    EXPECT_EQ(t.length(kB), 0U);
    ASSERT_TRUE(t.apply(open(kA)));
    EXPECT_EQ(t.length(kA), 0U);
    EXPECT_EQ(t.kept(kA), 9U);
    // The same places again, then new ones.
    EXPECT_EQ(t.pages_needed(kA, 9), 0U);
    EXPECT_EQ(t.pages_needed(kA, 13), 1U);
    EXPECT_EQ(t.grow(kA, 10), places);
    ASSERT_TRUE(t.apply(operation(kRelease, kA)));
    EXPECT_EQ(t.free_pages(), 8U);
}

TEST(PageTable, AKeptSequenceBeginsWithItsPositionsInPlace) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.reserve({kA, 6}));
    ASSERT_TRUE(t.reserve({kB, 6}));
    EXPECT_EQ(t.free_pages(), 4U);
    EXPECT_EQ(t.reserve({kC, 17}).error().code, ErrorCode::kResourceExhausted);
    EXPECT_FALSE(t.apply(open(kA, 7)));
    ASSERT_TRUE(t.apply(open(kA, 6)));
    EXPECT_EQ(t.length(kA), 6U);
    EXPECT_FALSE(t.append(kA, 5, t.copies));
    t.grow(kA, 3);
    EXPECT_EQ(t.free_pages(), 3U);
    // Nothing can be forked into it, and from it only what it has.
    ASSERT_TRUE(t.apply(open(kB)));
    EXPECT_FALSE(t.apply(fork(kB, kA, 2)));
    ASSERT_TRUE(t.apply(open(kC)));
    EXPECT_FALSE(t.apply(fork(kC, kB, 1)));
    t.grow(kB, 2);
    ASSERT_TRUE(t.apply(fork(kC, kB, 2)));
    // B goes on in the page that C shares; C takes its own.
    t.grow(kB, 1);
    EXPECT_TRUE(t.copies.empty());
    t.grow(kC, 1);
    EXPECT_EQ(t.copies.size(), 1U);
}

TEST(PageTable, ACutGivesKeptPagesBack) {
    Table t(8, 4, 100);
    ASSERT_TRUE(t.reserve({kA, 15}));
    ASSERT_TRUE(t.apply(open(kA)));
    t.grow(kA, 5);
    ASSERT_TRUE(t.apply(operation(kTruncate, kA, 5)));
    EXPECT_EQ(t.kept(kA), 5U);
    EXPECT_EQ(t.free_pages(), 6U);
    t.grow(kA, 5);
    EXPECT_EQ(t.free_pages(), 5U);
}

TEST(PageTable, OnlyWhatIsThereIsKept) {
    Table before(8, 4, 100);
    ASSERT_TRUE(before.apply(open(kA)));
    before.grow(kA, 5);
    const KeptSequence longer[] = {{kA, 6}};
    const KeptSequence right[] = {{kA, 5}};
    Table t(8, 4, 100);
    EXPECT_FALSE(t.keep(before, longer));
    EXPECT_EQ(t.free_pages(), 8U);
    EXPECT_FALSE(Table(9, 4, 100).keep(before, right));
    EXPECT_FALSE(Table(8, 8, 100).keep(before, right));
    EXPECT_FALSE(Table(8, 4, 99).keep(before, right));
    EXPECT_TRUE(Table(8, 4, 100).keep(before, right));
}

}  // namespace
}  // namespace potluck::engine
