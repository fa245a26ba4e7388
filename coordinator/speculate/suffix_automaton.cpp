#include "coordinator/speculate/suffix_automaton.h"

#include <algorithm>

namespace potluck::coordinator {
namespace {

std::size_t hash_of(std::uint32_t from, TokenId token) {
    std::uint64_t h = (std::uint64_t{from} << 32 | static_cast<std::uint32_t>(token));
    h *= 0x9E3779B97F4A7C15;
    return static_cast<std::size_t>(h ^ (h >> 29));
}

}  // namespace

SuffixAutomaton::SuffixAutomaton() : states_(1), index_(64, kNone) {}

std::uint32_t SuffixAutomaton::find(std::uint32_t from, TokenId token) const {
    const std::size_t mask = index_.size() - 1;
    for (std::size_t i = hash_of(from, token) & mask;; i = (i + 1) & mask) {
        const std::uint32_t edge = index_[i];
        if (edge == kNone || (edges_[edge].from == from && edges_[edge].token == token))
            return edge;
    }
}

void SuffixAutomaton::grow_index() {
    std::vector<std::uint32_t> larger(index_.size() * 2, kNone);
    const std::size_t mask = larger.size() - 1;
    for (std::uint32_t edge = 0; edge < edges_.size(); ++edge) {
        std::size_t i = hash_of(edges_[edge].from, edges_[edge].token) & mask;
        while (larger[i] != kNone)
            i = (i + 1) & mask;
        larger[i] = edge;
    }
    index_.swap(larger);
}

/// Adds an edge that is not there yet.
void SuffixAutomaton::connect(std::uint32_t from, TokenId token, std::uint32_t to) {
    if ((edges_.size() + 1) * 2 > index_.size()) grow_index();
    const std::size_t mask = index_.size() - 1;
    std::size_t i = hash_of(from, token) & mask;
    while (index_[i] != kNone)
        i = (i + 1) & mask;
    index_[i] = static_cast<std::uint32_t>(edges_.size());
    edges_.push_back({.from = from, .token = token, .to = to, .other = states_[from].edges});
    states_[from].edges = index_[i];
}

/// `to` also ends longer texts than `from` + `token`: the shorter ones get a state of their own.
std::uint32_t SuffixAutomaton::split(std::uint32_t from, TokenId token, std::uint32_t to) {
    const auto copy = static_cast<std::uint32_t>(states_.size());
    states_.push_back(
        {.link = states_[to].link, .length = states_[from].length + 1, .next = states_[to].next});
    for (std::uint32_t e = states_[to].edges; e != kNone; e = edges_[e].other)
        connect(copy, edges_[e].token, edges_[e].to);
    states_[to].link = copy;
    for (std::uint32_t p = from; p != kNone; p = states_[p].link) {
        const std::uint32_t edge = find(p, token);
        if (edge == kNone || edges_[edge].to != to) break;
        edges_[edge].to = copy;
    }
    return copy;
}

void SuffixAutomaton::append(TokenId token) {
    if (full()) return;
    text_.push_back(token);
    const auto end = static_cast<std::uint32_t>(text_.size());
    const auto added = static_cast<std::uint32_t>(states_.size());
    states_.push_back({.length = states_[last_].length + 1, .next = end});
    std::uint32_t p = last_;
    std::uint32_t edge = find(p, token);
    while (edge == kNone) {
        connect(p, token, added);
        p = states_[p].link;
        if (p == kNone) break;
        edge = find(p, token);
    }
    std::uint32_t link = 0;
    if (p != kNone) {
        link = edges_[edge].to;
        if (states_[link].length != states_[p].length + 1) link = split(p, token, link);
    }
    states_[added].link = link;
    last_ = added;
    match_ = {states_[link].length, states_[link].next};
    for (int i = 0; i < kRefreshed && link != 0; ++i, link = states_[link].link)
        states_[link].next = end;
}

SuffixAutomaton::Walk SuffixAutomaton::here() const {
    if (last_ == 0) return {};
    const std::uint32_t link = states_[last_].link;
    return {link, states_[link].length};
}

void SuffixAutomaton::step(Walk& walk, TokenId token) const {
    for (;;) {
        const std::uint32_t edge = find(walk.state, token);
        if (edge != kNone) {
            walk.state = edges_[edge].to;
            ++walk.length;
            return;
        }
        if (walk.state == 0) {
            walk.length = 0;
            return;
        }
        walk.state = states_[walk.state].link;
        // The state may have been split since the walk came here.
        walk.length = std::min(walk.length, states_[walk.state].length);
    }
}

std::size_t SuffixAutomaton::bytes() const {
    return text_.capacity() * sizeof(TokenId) + states_.capacity() * sizeof(State) +
           edges_.capacity() * sizeof(Edge) + index_.capacity() * sizeof(std::uint32_t);
}

}  // namespace potluck::coordinator
