#include "coordinator/speculate/ngram_table.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace potluck::coordinator {
namespace {

constexpr std::size_t kFirstSize = 256;

}  // namespace

std::uint64_t ngram_key(std::span<const TokenId> ngram) {
    std::uint64_t key = kEmptyNgram;
    for (auto token = ngram.rbegin(); token != ngram.rend(); ++token)
        key = longer_ngram(key, *token);
    return key;
}

NgramTable::NgramTable(std::size_t most) : entries_(std::min(most, kFirstSize)), most_(most) {}

std::uint32_t NgramTable::Entry::total() const {
    std::uint32_t sum = 0;
    for (const auto n : counts)
        sum += n;
    return sum;
}

void NgramTable::Entry::count(TokenId token) {
    std::size_t at = 0;
    while (at < kSuccessors && counts[at] > 0 && tokens[at] != token)
        ++at;
    if (at == kSuccessors) {  // a fifth one takes the place of the rarest
        at = static_cast<std::size_t>(std::ranges::min_element(counts) - counts.begin());
        counts[at] = 0;
    }
    tokens[at] = token;
    if (++counts[at] == std::numeric_limits<std::uint16_t>::max()) {
        for (auto& n : counts)
            n = static_cast<std::uint16_t>(n / 2);
    }
    for (; at > 0; --at) {
        std::swap(tokens[at], tokens[at - 1]);
        std::swap(counts[at], counts[at - 1]);
    }
}

NgramTable::Entry& NgramTable::place(std::uint64_t key) {
    const std::size_t mask = entries_.size() - 1;
    Entry* rarest = nullptr;
    for (std::size_t i = 0; i < kProbes; ++i) {
        Entry& entry = entries_[((key >> 8) + i) & mask];
        if (entry.key == key || entry.key == 0) return entry;
        if (rarest == nullptr || entry.total() < rarest->total()) rarest = &entry;
    }
    return *rarest;
}

void NgramTable::grow() {
    std::vector<Entry, HugePages<Entry>> old(std::min(entries_.size() * 4, most_));
    old.swap(entries_);
    size_ = 0;
    for (const Entry& entry : old) {
        if (entry.key == 0) continue;
        Entry& there = place(entry.key);
        size_ += there.key == 0 ? 1 : 0;
        there = entry;
    }
}

void NgramTable::add(std::uint64_t key, TokenId next) {
    if (size_ * 2 >= entries_.size() && entries_.size() < most_) grow();
    Entry& entry = place(key);
    if (entry.key != key) {
        size_ += entry.key == 0 ? 1 : 0;
        entry = {.key = key};
    }
    entry.count(next);
}

std::optional<NgramTable::Best> NgramTable::best(std::uint64_t key) const {
    const std::size_t mask = entries_.size() - 1;
    for (std::size_t i = 0; i < kProbes; ++i) {
        const Entry& entry = entries_[((key >> 8) + i) & mask];
        if (entry.key == 0) return std::nullopt;
        if (entry.key != key) continue;
        const auto most = std::ranges::max_element(entry.counts) - entry.counts.begin();
        const auto at = static_cast<std::size_t>(most);
        return Best{entry.tokens[at], entry.counts[at], entry.total()};
    }
    return std::nullopt;
}

}  // namespace potluck::coordinator
