// Random operations on a page table and, beside it, a model that knows nothing of pages: each
// sequence is the list of what was written at its positions. A pool of page contents follows the
// table's copies and places; what a sequence reads through its pages must be its list.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/rng.h"
#include "engine/page_table.h"

namespace potluck::engine {
namespace {

constexpr std::size_t kPages = 14;
constexpr std::size_t kTokens = 4;
constexpr std::size_t kLongest = 22;

struct NaiveSequence {
    std::vector<int> written;
    std::uint32_t committed = 0;
    std::map<std::uint64_t, std::uint32_t> checkpoints;

    std::uint32_t length() const { return static_cast<std::uint32_t>(written.size()); }
    void shorten(std::uint32_t n) {
        written.resize(n);
        std::erase_if(checkpoints, [&](const auto& c) { return c.second > n; });
    }
};

class World {
  public:
    explicit World(std::uint64_t seed) : seed_(seed) {}

    std::uint32_t pick(std::uint32_t n) {
        return static_cast<std::uint32_t>(uniform(seed_, draws_++) * n);
    }

    void random_step() {
        Operation op;
        op.seq = SeqId(1 + pick(6));
        op.source = SeqId(1 + pick(6));
        op.length = pick(kLongest + 2);
        op.checkpoint = pick(3);
        static constexpr int kWeights[] = {0, 10, 12, 10, 3, 8, 8, 4};  // by OperationKind
        int choice = static_cast<int>(pick(140));
        if (choice >= 130) return choice < 136 ? pause(op.seq) : replay(op.seq);
        for (int kind = 1; kind <= 7; ++kind) {
            choice -= kWeights[kind];
            if (choice >= 0) continue;
            op.kind = static_cast<OperationKind>(kind);
            if (op.kind == OperationKind::kFork && pick(4) != 0) make_possible(op);
            apply(op);
            return;
        }
        const auto found = sequences_.find(op.seq.value);
        const std::uint32_t length = found == sequences_.end() ? 0 : found->second.length();
        const bool wrong = pick(10) == 0;
        const std::uint32_t run = 1 + pick(6);
        for (std::uint32_t i = 0; i < run; ++i)
            append(op.seq, wrong ? op.length : length + i);
    }

    void check() const {
        std::map<PageIndex, std::uint32_t> used;
        ASSERT_EQ(table_.sequence_count(), sequences_.size());
        for (const auto& [seq, naive] : sequences_) {
            ASSERT_EQ(table_.length(SeqId(seq)), naive.length());
            const auto pages = table_.pages(SeqId(seq));
            ASSERT_EQ(pages.size(), (naive.written.size() + kTokens - 1) / kTokens);
            for (const PageIndex page : pages)
                ++used[page];
            for (std::size_t i = 0; i < naive.written.size(); ++i) {
                const auto page = static_cast<std::size_t>(pages[i / kTokens]);
                ASSERT_EQ(memory_[page * kTokens + i % kTokens], naive.written[i])
                    << "sequence " << seq << " position " << i;
            }
        }
        // No page is leaked, and none is held by others than those who say so.
        ASSERT_EQ(table_.free_pages() + used.size(), kPages);
        for (PageIndex page = 0; page < static_cast<PageIndex>(kPages); ++page) {
            const auto holders = used.find(page);
            ASSERT_EQ(table_.references(page), holders == used.end() ? 0 : holders->second);
        }
    }

    void release_all() {
        for (std::uint64_t seq = 1; seq <= 6; ++seq)
            apply({.kind = OperationKind::kRelease, .seq = SeqId(seq)});
        EXPECT_EQ(table_.free_pages(), kPages);
        EXPECT_EQ(table_.sequence_count(), 0U);
    }

    std::map<ErrorCode, std::size_t> errors;
    std::size_t copies_made = 0;
    std::size_t replayed = 0;

  private:
    /// What a scheduler does with a sequence when pages run out: its pages go, what it held stays
    /// known…
    void pause(SeqId seq) {
        const auto found = sequences_.find(seq.value);
        if (found == sequences_.end()) return;
        paused_[seq.value] = found->second.written;
        apply({.kind = OperationKind::kRelease, .seq = seq});
    }
    /// … and is written again into whatever pages there are then.
    void replay(SeqId seq) {
        const auto found = paused_.find(seq.value);
        if (found == paused_.end() || sequences_.contains(seq.value)) return;
        apply({.kind = OperationKind::kOpen, .seq = seq});
        for (std::size_t i = 0; i < found->second.size(); ++i)
            append(seq, static_cast<std::uint32_t>(i), found->second[i]);
        replayed += found->second.size();
        paused_.erase(found);
    }

    /// Few random forks would find an empty target: this one gets it, and a length that exists.
    void make_possible(Operation& fork) {
        if (fork.seq == fork.source) return;
        apply({.kind = OperationKind::kRelease, .seq = fork.seq});
        apply({.kind = OperationKind::kOpen, .seq = fork.seq});
        const auto source = sequences_.find(fork.source.value);
        if (source != sequences_.end()) fork.length = pick(source->second.length() + 1);
    }

    /// Whether an operation must work; if so, it has been applied to the naive model.
    bool expected(const Operation& op) {
        const auto found = sequences_.find(op.seq.value);
        if (op.kind == OperationKind::kOpen) {
            return sequences_.try_emplace(op.seq.value).second;
        }
        if (found == sequences_.end()) return false;
        NaiveSequence& s = found->second;
        switch (op.kind) {
            case OperationKind::kFork: {
                const auto from = sequences_.find(op.source.value);
                if (from == sequences_.end() || s.length() != 0) return false;
                if (op.length > from->second.length()) return false;
                const auto& all = from->second.written;
                const std::vector<int> part(all.begin(), all.begin() + op.length);
                s.written = part;
                return true;
            }
            case OperationKind::kTruncate:
                if (op.length > s.length() || op.length < s.committed) return false;
                s.shorten(op.length);
                return true;
            case OperationKind::kCommit:
                if (op.length > s.length()) return false;
                s.committed = std::max(s.committed, op.length);
                return true;
            case OperationKind::kCheckpoint:
                s.checkpoints[op.checkpoint] = s.length();
                return true;
            case OperationKind::kRestore: {
                const auto at = s.checkpoints.find(op.checkpoint);
                if (at == s.checkpoints.end()) return false;
                s.shorten(at->second);
                s.committed = std::min(s.committed, s.length());
                return true;
            }
            default:
                sequences_.erase(found);
                return true;
        }
    }

    void apply(const Operation& op) {
        const auto free = table_.free_pages();
        const bool good = expected(op);
        const auto status = table_.apply(op);
        ASSERT_EQ(status.has_value(), good) << "kind " << static_cast<int>(op.kind);
        if (status) return;
        ++errors[status.error().code];
        ASSERT_EQ(table_.free_pages(), free);
    }

    void append(SeqId seq, std::uint32_t position) { append(seq, position, next_++); }
    void append(SeqId seq, std::uint32_t position, int value) {
        const auto found = sequences_.find(seq.value);
        const auto free = table_.free_pages();
        const auto needed = table_.pages_needed(seq, 1);
        std::vector<PageCopy> copies;
        const auto place = table_.append(seq, position, copies);
        const bool in_step =
            found != sequences_.end() && position == found->second.length() && position < kLongest;
        ASSERT_EQ(place.has_value(), in_step && needed <= free);
        if (!place) {
            ++errors[place.error().code];
            const auto code = in_step ? ErrorCode::kResourceExhausted : ErrorCode::kCorrupt;
            ASSERT_EQ(place.error().code, code);
            ASSERT_TRUE(copies.empty());
            ASSERT_EQ(table_.free_pages(), free);
            return;
        }
        ASSERT_EQ(table_.free_pages(), free - needed);
        for (const auto& [from, to] : copies) {
            ++copies_made;
            std::copy_n(memory_.begin() + from * static_cast<int>(kTokens), kTokens,
                        memory_.begin() + to * static_cast<int>(kTokens));
        }
        memory_[static_cast<std::size_t>(*place)] = value;
        found->second.written.push_back(value);
    }

    std::uint64_t seed_;
    std::uint64_t draws_ = 0;
    PageTable table_{kPages, kTokens, kLongest};
    std::vector<int> memory_ = std::vector<int>(kPages * kTokens, -1);
    std::map<std::uint64_t, NaiveSequence> sequences_;
    std::map<std::uint64_t, std::vector<int>> paused_;
    int next_ = 0;
};

TEST(PageTableProperty, ReadsBackWhatEachSequenceWrote) {
    std::size_t copies = 0;
    std::map<ErrorCode, std::size_t> errors;
    std::size_t replayed = 0;
    for (std::uint64_t seed = 1; seed <= 10'000; ++seed) {
        World world(seed);
        for (int step = 0; step < 150; ++step) {
            world.random_step();
            world.check();
            ASSERT_FALSE(HasFatalFailure()) << "seed " << seed << " step " << step;
        }
        world.release_all();
        copies += world.copies_made;
        replayed += world.replayed;
        for (const auto& [code, n] : world.errors)
            errors[code] += n;
    }
    // The walk went where it matters.
    EXPECT_GT(copies, 5'000U);
    EXPECT_GT(replayed, 5'000U);
    EXPECT_GT(errors[ErrorCode::kResourceExhausted], 5'000U);
    EXPECT_GT(errors[ErrorCode::kCorrupt], 50'000U);
}

}  // namespace
}  // namespace potluck::engine
