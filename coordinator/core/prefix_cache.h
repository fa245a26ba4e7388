#pragma once

// Which sequences of the stages begin with which tokens: one radix tree per tenant. A sequence is
// *kept* (its request is over, it may be dropped when room is needed) or *live* (of a request that
// still runs). A later request forks from whichever shares most tokens with it.
//
// It knows nothing of pages; KvPool joins the two.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"

namespace potluck::coordinator {

class PrefixCache {
  public:
    struct Match {
        SeqId seq;                 ///< 0: none
        std::uint32_t length = 0;  ///< positions that are shared
    };

    PrefixCache();
    ~PrefixCache();

    /// From now on the positions of `tokens` can be forked from `seq`. Replaces what was known of
    /// it; it is the one used last.
    void insert(SeqId seq, TenantId tenant, std::vector<TokenId> tokens, bool kept);
    /// Only its first `length` positions are left; when it was used stays.
    void shorten(SeqId seq, std::size_t length);
    /// Unknown ones are ignored.
    void erase(SeqId seq);
    /// The longest beginning of `tokens` that a sequence of the tenant has.
    Match find(TenantId tenant, std::span<const TokenId> tokens) const;
    /// It was of use: it is the one used last.
    void touch(SeqId seq);

    bool contains(SeqId seq) const { return entries_.contains(seq); }
    bool is_kept(SeqId seq) const;
    /// Empty for unknown ones.
    std::span<const TokenId> tokens(SeqId seq) const;
    /// The kept one that was not used for longest.
    std::optional<SeqId> oldest() const;
    /// Kept ones other than `seq` that are wholly a beginning of it.
    std::vector<SeqId> beginnings_of(SeqId seq) const;
    /// Whether another kept one begins with all of `seq`.
    bool is_beginning(SeqId seq) const;
    std::vector<SeqId> kept() const;
    std::size_t kept_count() const { return kept_count_; }
    std::size_t size() const { return entries_.size(); }
    void clear();

  private:
    struct Node;
    struct Entry {
        TenantId tenant;
        std::vector<TokenId> tokens;
        bool kept = false;
        std::uint64_t used = 0;
    };

    static void add(Node& root, SeqId seq, std::span<const TokenId> tokens);
    static void remove(Node& root, SeqId seq, std::span<const TokenId> tokens);

    std::map<TenantId, std::unique_ptr<Node>> roots_;
    std::map<SeqId, Entry> entries_;
    std::size_t kept_count_ = 0;
    std::uint64_t uses_ = 0;
};

}  // namespace potluck::coordinator
