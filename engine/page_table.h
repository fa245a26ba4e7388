#pragma once

// Which pages of a KV pool hold which positions of which sequence. The coordinator and every stage
// run this same class on the same operations and rows in the same order, so that their tables agree
// without a round trip; only the pool's size differs, and the coordinator uses the smallest.
//
// Thread: none; owned by whoever owns the pool. A page is kPageTokens positions of every layer.

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/batch.h"
#include "base/ids.h"
#include "base/result.h"

namespace potluck::engine {

using PageIndex = std::int32_t;

/// A page to copy before rows are written: it was shared and one of its sequences appends to it.
struct PageCopy {
    PageIndex from = 0;
    PageIndex to = 0;
};

/// A sequence of an earlier epoch and how many of its first positions are to stay.
struct KeptSequence {
    SeqId seq;
    std::uint32_t positions = 0;

    friend bool operator==(const KeptSequence&, const KeptSequence&) = default;
};

class PageTable {
  public:
    /// `page_tokens`: positions per page. `max_length`: positions per sequence.
    PageTable(std::size_t pages, std::size_t page_tokens, std::size_t max_length);

    // Over a change of plan (docs/loss.md). What is kept of a sequence waits, holding its pages,
    // until the sequence is opened again: with as many tokens as positions are in place, or with
    // none. Then its length begins there, and rows up to what was kept go into the pages that it
    // has. Until then it is not open. For a table without sequences only.

    /// Keeps what `before` holds of these sequences, in the same pages. kCorrupt, and nothing is
    /// kept, if they have other sizes or one of the sequences has fewer positions.
    Status keep(const PageTable& before, std::span<const KeptSequence> sequences);
    /// Keeps pages of its own for positions that the stages hold. kResourceExhausted if too few are
    /// free.
    Status reserve(const KeptSequence& sequence);

    /// Applies one operation. Errors (kCorrupt, naming the sequence) leave the table as it was:
    /// opening twice, forking into a sequence that is not open and empty, going beyond the length,
    /// truncating below a commit, an unknown sequence or checkpoint.
    Status apply(const Operation& operation);

    /// Gives `position`, which must be the sequence's length, a place: page * page_tokens + offset.
    /// A copy that must happen first is appended to `copies`. kResourceExhausted if no page is
    /// free, kCorrupt if the position is not the length (the link is out of step).
    Result<std::int32_t> append(SeqId seq, std::uint32_t position, std::vector<PageCopy>& copies);

    /// Pages that append() for positions [length, length + n) would take.
    std::size_t pages_needed(SeqId seq, std::size_t n) const;

    bool contains(SeqId seq) const { return sequences_.contains(seq); }
    std::size_t sequence_count() const { return sequences_.size(); }
    /// 0 for an unknown sequence.
    std::uint32_t length(SeqId seq) const;
    /// How many positions of an open sequence were kept and not given back since; its length may be
    /// smaller.
    std::uint32_t kept(SeqId seq) const;
    /// Pages of a sequence in order of position; empty for an unknown one.
    std::span<const PageIndex> pages(SeqId seq) const;
    std::size_t page_tokens() const { return page_tokens_; }
    std::size_t max_length() const { return max_length_; }
    std::size_t page_count() const { return references_.size(); }
    std::size_t free_pages() const { return free_.size(); }
    /// How many sequences hold a page; 0 if it is free.
    std::uint32_t references(PageIndex page) const {
        return references_[static_cast<std::size_t>(page)];
    }

  private:
    struct Sequence {
        std::vector<PageIndex> pages;
        std::uint32_t length = 0;
        std::uint32_t committed = 0;
        std::uint32_t kept = 0;  ///< positions that have their pages already
        std::vector<std::pair<std::uint64_t, std::uint32_t>> checkpoints;  ///< id, length
    };

    std::size_t pages_for(std::size_t positions) const {
        return (positions + page_tokens_ - 1) / page_tokens_;
    }
    Sequence new_sequence() const;
    Status open(const Operation& operation);
    Status fork(const Operation& operation);
    Status restore(Sequence& sequence, const Operation& operation);
    void shorten(Sequence& sequence, std::uint32_t length);
    void drop(PageIndex page);
    PageIndex take();

    std::size_t page_tokens_;
    std::size_t max_length_;
    std::vector<std::uint32_t> references_;  ///< per page; 0 is free
    std::vector<PageIndex> free_;            ///< taken from the back
    std::unordered_map<SeqId, Sequence> sequences_;
    std::unordered_map<SeqId, Sequence> waiting_;  ///< kept, not open yet
};

}  // namespace potluck::engine
