#pragma once

// The KV pages of the pipeline as the coordinator sees them: the page table of its smallest stage,
// the sequences that are kept because a later prompt may begin like them, and the operations that
// the next batch must carry so that the stages follow.
//
// Everything is applied here at once, in the order in which the stages will see it: a batch's
// operations go before its rows, so whatever is called after a row was placed belongs to the next
// batch. That is why pages are never promised twice.

#include <cstdint>
#include <span>
#include <vector>

#include "base/batch.h"
#include "coordinator/core/prefix_cache.h"
#include "engine/page_table.h"

namespace potluck::coordinator {

struct KvPoolOptions {
    std::size_t pages = 0;
    std::size_t page_tokens = 64;
    std::size_t context = 0;          ///< positions per sequence
    std::size_t kept_sequences = 64;  ///< of requests that are over; 0: none
    std::size_t least_shared = 8;     ///< tokens below which keeping is not worth it
};

class KvPool {
  public:
    explicit KvPool(const KvPoolOptions& options);

    /// Opens `seq`; with a match it begins with the match's positions, sharing their pages.
    void open(SeqId seq, TenantId tenant, const SamplerSpec& sampler,
              const PrefixCache::Match& match);
    /// Opens `seq`, of which the stages hold these first positions from an earlier pipeline: all
    /// stages (its rows go on behind them), or only later ones (its rows are fed from the first on,
    /// into pages that it has). False if there are too few pages: then it is not open.
    bool take_up(SeqId seq, TenantId tenant, const SamplerSpec& sampler,
                 std::span<const TokenId> tokens, bool on_all_stages);
    /// The stages need not hold what they kept of `seq`.
    void let_go(SeqId seq);
    /// Gives the sequence's next position a page. The caller has made room.
    void place(SeqId seq, std::uint32_t position);
    /// Takes back the positions of a running sequence from `length` on; nobody shares them.
    void truncate(SeqId seq, std::size_t length);
    /// The prompt of a running sequence is wholly in its pages: others may fork from it.
    void share(SeqId seq, TenantId tenant, std::span<const TokenId> tokens);
    /// The sequence runs no more. Its first positions, which hold `tokens`, are kept for others if
    /// that is worth it; the rest is given back.
    void end(SeqId seq, TenantId tenant, std::span<const TokenId> tokens);
    /// The longest beginning of `tokens` that can be forked, at least `least_shared`.
    PrefixCache::Match find(TenantId tenant, std::span<const TokenId> tokens) const;

    /// Drops what was kept and not used for longest until `pages` are free; false if that is not
    /// enough.
    bool make_room(std::size_t pages);
    /// Free pages and those that only kept sequences hold.
    std::size_t available() const;
    /// Pages that a sequence of `length` positions takes from the available ones if it begins with
    /// the match.
    std::size_t pages_for(std::size_t length, const PrefixCache::Match& match) const;

    bool has_operations() const { return !operations_.empty(); }
    std::vector<Operation> take_operations();

    const engine::PageTable& table() const { return table_; }
    std::size_t kept_sequences() const { return cache_.kept_count(); }
    /// Pages that nothing but kept sequences hold.
    std::size_t kept_pages() const { return available() - table_.free_pages(); }
    std::uint64_t evictions() const { return evictions_; }

  private:
    void operate(Operation operation);
    void release(SeqId seq);
    bool evict(std::size_t pages);
    /// How many kept sequences hold each page; in `holders_`.
    void count_holders() const;

    KvPoolOptions options_;
    engine::PageTable table_;
    PrefixCache cache_;
    std::vector<Operation> operations_;
    std::vector<engine::PageCopy> copies_;
    mutable std::vector<std::uint32_t> holders_;
    std::uint64_t evictions_ = 0;
};

}  // namespace potluck::coordinator
