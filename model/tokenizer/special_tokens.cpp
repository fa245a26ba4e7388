#include "model/tokenizer/special_tokens.h"

#include <algorithm>
#include <functional>
#include <tuple>

namespace potluck::model {

namespace {

/// White space of the C locale, which is what stripping tokens swallow.
bool is_c_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

SpecialTokens::SpecialTokens(std::span<const SpecialToken> tokens) {
    for (const SpecialToken& token : tokens) {
        if (token.text.empty()) continue;
        entries_.push_back({token.id, static_cast<std::uint32_t>(token.text.size()), 0,
                            token.always, token.strips_left, token.strips_right});
        add(static_cast<std::uint32_t>(entries_.size() - 1), token.text);
        any_always_ = any_always_ || token.always;
    }
    link();
    rank_sizes();
}

std::uint32_t SpecialTokens::child(std::uint32_t node, unsigned char byte) const {
    if (node == 0) return roots_[byte];
    std::uint32_t found = nodes_[node].first_child;
    while (found != kNone && nodes_[found].byte != byte) {
        found = nodes_[found].next_sibling;
    }
    return found == kNone ? 0 : found;
}

void SpecialTokens::add(std::uint32_t entry, std::string_view text) {
    std::uint32_t node = 0;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        std::uint32_t next = child(node, byte);
        if (next == 0) {
            next = static_cast<std::uint32_t>(nodes_.size());
            Node fresh;
            fresh.byte = byte;
            fresh.next_sibling = nodes_[node].first_child;
            nodes_.push_back(fresh);
            nodes_[node].first_child = next;
            if (node == 0) roots_[byte] = next;
        }
        node = next;
    }
    // Two tokens with one text: the first given stays.
    if (nodes_[node].entry == kNone) nodes_[node].entry = entry;
}

/// Failure links in breadth-first order: a node's is the node of its longest proper suffix.
void SpecialTokens::link() {
    std::vector<std::uint32_t> order{0};
    std::uint64_t steps = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const std::uint32_t node = order[i];
        for (std::uint32_t c = nodes_[node].first_child; c != kNone; c = nodes_[c].next_sibling) {
            order.push_back(c);
            nodes_[c].failure = node == 0 ? 0 : step(nodes_[node].failure, nodes_[c].byte, steps);
            const Node& suffix = nodes_[nodes_[c].failure];
            nodes_[c].shorter = suffix.entry != kNone ? nodes_[c].failure : suffix.shorter;
            const bool own = nodes_[c].entry != kNone && entries_[nodes_[c].entry].always;
            nodes_[c].always = own ? c : suffix.always;
        }
    }
}

void SpecialTokens::rank_sizes() {
    std::vector<std::uint32_t> sizes;
    for (const Entry& entry : entries_) {
        sizes.push_back(entry.size);
    }
    std::sort(sizes.begin(), sizes.end(), std::greater<>());
    sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
    distinct_sizes_ = sizes.size();
    for (Entry& entry : entries_) {
        const auto found =
            std::lower_bound(sizes.begin(), sizes.end(), entry.size, std::greater<>());
        entry.place = static_cast<std::uint32_t>(found - sizes.begin());
    }
}

std::uint32_t SpecialTokens::step(std::uint32_t node, unsigned char byte,
                                  std::uint64_t& steps) const {
    for (;; node = nodes_[node].failure) {
        ++steps;
        const std::uint32_t next = child(node, byte);
        if (next != 0 || node == 0) return next;
    }
}

std::uint32_t SpecialTokens::allowed(std::uint32_t node, bool parse_special) const {
    if (node == kNone) return kNone;
    if (!parse_special) return nodes_[node].always;
    return nodes_[node].entry != kNone ? node : nodes_[node].shorter;
}

std::vector<SpecialTokens::Place> SpecialTokens::places(std::string_view text, bool parse_special,
                                                        std::uint64_t& steps) const {
    std::vector<Place> found;
    std::uint32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (node == 0 && roots_[byte] == 0) continue;
        node = step(node, byte, steps);
        const std::uint32_t longest = allowed(node, parse_special);
        if (longest != kNone) found.push_back({i + 1, longest});
    }
    return found;
}

void SpecialTokens::find(std::string_view text, bool parse_special, std::vector<Match>& matches,
                         std::uint64_t* work) const {
    matches.clear();
    if (entries_.empty() || (!parse_special && !any_always_)) return;
    std::uint64_t steps = 0;
    const std::vector<Place> all = places(text, parse_special, steps);
    std::vector<std::vector<Place>> by_size(all.empty() ? 0 : distinct_sizes_);
    const auto entry_of = [&](const Place& p) -> const Entry& {
        return entries_[nodes_[p.node].entry];
    };
    for (const Place& place : all) {
        by_size[entry_of(place).place].push_back(place);
    }
    // A token that is not shorter than another and overlaps it covers its first or its last byte,
    // so looking at these two is enough.
    std::vector<bool> taken(all.empty() ? 0 : text.size());
    const auto take = [&](const Entry& entry, std::size_t end) {
        Match match{end - entry.size, end, entry.id};
        const auto free_space = [&](std::size_t i) { return is_c_space(text[i]) && !taken[i]; };
        while (entry.strips_left && match.begin > 0 && free_space(match.begin - 1)) {
            --match.begin;
        }
        while (entry.strips_right && match.end < text.size() && free_space(match.end)) {
            ++match.end;
        }
        std::fill(taken.begin() + static_cast<std::ptrdiff_t>(match.begin),
                  taken.begin() + static_cast<std::ptrdiff_t>(match.end), true);
        matches.push_back(match);
    };
    for (std::vector<Place>& bucket : by_size) {
        std::sort(bucket.begin(), bucket.end(), [&](const Place& a, const Place& b) {
            return std::tuple(entry_of(a).id, a.end) < std::tuple(entry_of(b).id, b.end);
        });
        for (const Place& place : bucket) {
            ++steps;
            const Entry& entry = entry_of(place);
            if (taken[place.end - 1]) continue;  // whatever ends here overlaps
            if (!taken[place.end - entry.size]) {
                take(entry, place.end);
                continue;
            }
            const std::uint32_t shorter = allowed(nodes_[place.node].shorter, parse_special);
            if (shorter == kNone) continue;
            const Place next{place.end, shorter};
            by_size[entry_of(next).place].push_back(next);
        }
    }
    std::sort(matches.begin(), matches.end(),
              [](const Match& a, const Match& b) { return a.begin < b.begin; });
    if (work != nullptr) *work += steps;
}

}  // namespace potluck::model
