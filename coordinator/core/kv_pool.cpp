#include "coordinator/core/kv_pool.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace potluck::coordinator {

KvPool::KvPool(const KvPoolOptions& options)
    : options_(options),
      table_(options.pages, options.page_tokens, options.context),
      holders_(options.pages, 0) {}

void KvPool::operate(Operation operation) {
    const auto applied = table_.apply(operation);
    POTLUCK_CHECK(applied.has_value());
    operations_.push_back(std::move(operation));
}

std::vector<Operation> KvPool::take_operations() {
    return std::exchange(operations_, {});
}

void KvPool::open(SeqId seq, TenantId tenant, const SamplerSpec& sampler,
                  const PrefixCache::Match& match) {
    operate({.kind = OperationKind::kOpen, .seq = seq, .tenant = tenant, .sampler = sampler});
    if (match.length == 0) return;
    operate(
        {.kind = OperationKind::kFork, .seq = seq, .source = match.seq, .length = match.length});
    cache_.touch(match.seq);
    // All of it lives on in the new sequence. Without it the last page is written, not copied.
    if (cache_.is_kept(match.seq) && cache_.tokens(match.seq).size() == match.length)
        release(match.seq);
}

bool KvPool::take_up(SeqId seq, TenantId tenant, const SamplerSpec& sampler,
                     std::span<const TokenId> tokens, bool on_all_stages) {
    // Stages may share pages of these sequences; here each has its own, so that it is enough
    // wherever they share none.
    if (!table_.reserve({seq, static_cast<std::uint32_t>(tokens.size())})) return false;
    Operation opening{
        .kind = OperationKind::kOpen, .seq = seq, .tenant = tenant, .sampler = sampler};
    if (on_all_stages) opening.tokens.assign(tokens.begin(), tokens.end());
    operate(std::move(opening));
    return true;
}

void KvPool::let_go(SeqId seq) {
    operate({.kind = OperationKind::kOpen, .seq = seq});
    operate({.kind = OperationKind::kRelease, .seq = seq});
}

void KvPool::place(SeqId seq, std::uint32_t position) {
    copies_.clear();
    const auto placed = table_.append(seq, position, copies_);
    POTLUCK_CHECK(placed.has_value());
}

void KvPool::truncate(SeqId seq, std::size_t length) {
    operate({.kind = OperationKind::kTruncate,
             .seq = seq,
             .length = static_cast<std::uint32_t>(length)});
}

void KvPool::share(SeqId seq, TenantId tenant, std::span<const TokenId> tokens) {
    cache_.insert(seq, tenant, {tokens.begin(), tokens.end()}, false);
}

void KvPool::release(SeqId seq) {
    cache_.erase(seq);
    operate({.kind = OperationKind::kRelease, .seq = seq});
}

void KvPool::end(SeqId seq, TenantId tenant, std::span<const TokenId> tokens) {
    if (options_.kept_sequences == 0 ||
        tokens.size() < std::max<std::size_t>(options_.least_shared, 1))
        return release(seq);
    cache_.insert(seq, tenant, {tokens.begin(), tokens.end()}, true);
    if (cache_.is_beginning(seq)) return release(seq);
    for (const SeqId shorter : cache_.beginnings_of(seq))
        release(shorter);
    if (std::max(table_.length(seq), table_.kept(seq)) > tokens.size())
        truncate(seq, tokens.size());
    while (cache_.kept_count() > options_.kept_sequences) {
        ++evictions_;
        release(*cache_.oldest());
    }
}

PrefixCache::Match KvPool::find(TenantId tenant, std::span<const TokenId> tokens) const {
    const auto match = cache_.find(tenant, tokens);
    return match.length >= options_.least_shared ? match : PrefixCache::Match{};
}

/// Takes pages from the end of the one that was not used for longest: its beginning, which others
/// are more likely to share, goes last.
bool KvPool::evict(std::size_t pages) {
    const auto oldest = cache_.oldest();
    if (!oldest) return false;
    ++evictions_;
    const auto held = table_.pages(*oldest);
    std::size_t keep = held.size();
    for (std::size_t freed = 0; keep > 0 && freed < pages;) {
        if (table_.references(held[--keep]) == 1) ++freed;
    }
    const std::size_t length = keep * options_.page_tokens;
    if (length < std::max<std::size_t>(options_.least_shared, 1)) {
        release(*oldest);
        return true;
    }
    truncate(*oldest, length);
    cache_.shorten(*oldest, length);
    if (cache_.is_beginning(*oldest)) release(*oldest);
    return true;
}

bool KvPool::make_room(std::size_t pages) {
    while (table_.free_pages() < pages) {
        if (!evict(pages - table_.free_pages())) return false;
    }
    return true;
}

void KvPool::count_holders() const {
    std::fill(holders_.begin(), holders_.end(), 0);
    for (const SeqId seq : cache_.kept()) {
        for (const auto page : table_.pages(seq))
            ++holders_[static_cast<std::size_t>(page)];
    }
}

std::size_t KvPool::available() const {
    std::size_t n = table_.free_pages();
    if (cache_.kept_count() == 0) return n;
    count_holders();
    for (std::size_t page = 0; page < holders_.size(); ++page) {
        if (holders_[page] > 0 &&
            holders_[page] == table_.references(static_cast<engine::PageIndex>(page)))
            ++n;
    }
    return n;
}

std::size_t KvPool::pages_for(std::size_t length, const PrefixCache::Match& match) const {
    const std::size_t all = (length + options_.page_tokens - 1) / options_.page_tokens;
    if (match.length == 0) return all;
    // Whole pages that a running sequence holds anyway cost nothing.
    count_holders();
    std::size_t shared = 0;
    const auto pages = table_.pages(match.seq).first(match.length / options_.page_tokens);
    for (const auto page : pages) {
        if (holders_[static_cast<std::size_t>(page)] < table_.references(page)) ++shared;
    }
    return all - std::min(all, shared);
}

}  // namespace potluck::coordinator
