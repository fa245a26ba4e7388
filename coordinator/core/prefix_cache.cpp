#include "coordinator/core/prefix_cache.h"

#include <algorithm>
#include <utility>

namespace potluck::coordinator {

/// The tokens from its parent to it, and the sequences that end exactly here. A node without
/// sequences has at least two children, but for the root.
struct PrefixCache::Node {
    std::vector<TokenId> label;
    std::map<TokenId, std::unique_ptr<Node>> children;  ///< by the first token of their labels
    std::vector<SeqId> ends;
};

PrefixCache::PrefixCache() = default;
PrefixCache::~PrefixCache() = default;

namespace {

std::size_t common(std::span<const TokenId> a, std::span<const TokenId> b) {
    const auto n = std::min(a.size(), b.size());
    const auto differ =
        std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin());
    return static_cast<std::size_t>(differ.first - a.begin());
}

}  // namespace

void PrefixCache::add(Node& root, SeqId seq, std::span<const TokenId> tokens) {
    Node* node = &root;
    while (!tokens.empty()) {
        auto& child = node->children[tokens.front()];
        if (!child) {
            child = std::make_unique<Node>();
            child->label.assign(tokens.begin(), tokens.end());
            child->ends.push_back(seq);
            return;
        }
        const std::size_t shared = common(child->label, tokens);
        if (shared < child->label.size()) {
            // Cut the edge in two: a new node where they part.
            auto upper = std::make_unique<Node>();
            const auto cut = child->label.begin() + static_cast<std::ptrdiff_t>(shared);
            upper->label.assign(child->label.begin(), cut);
            child->label.erase(child->label.begin(), cut);
            const TokenId first = child->label.front();
            upper->children[first] = std::move(child);
            child = std::move(upper);
        }
        node = child.get();
        tokens = tokens.subspan(shared);
    }
    node->ends.push_back(seq);
}

void PrefixCache::remove(Node& root, SeqId seq, std::span<const TokenId> tokens) {
    std::vector<Node*> path{&root};
    while (!tokens.empty()) {
        Node& child = *path.back()->children.at(tokens.front());
        tokens = tokens.subspan(child.label.size());
        path.push_back(&child);
    }
    std::erase(path.back()->ends, seq);
    // Take away what holds nothing any more, and join what no longer parts.
    while (path.size() > 1) {
        Node& node = *path.back();
        Node& parent = *path[path.size() - 2];
        if (!node.ends.empty() || node.children.size() > 1) return;
        auto& slot = parent.children.at(node.label.front());
        if (node.children.empty()) {
            parent.children.erase(node.label.front());
        } else {
            auto only = std::move(node.children.begin()->second);
            only->label.insert(only->label.begin(), node.label.begin(), node.label.end());
            slot = std::move(only);
            return;
        }
        path.pop_back();
    }
}

void PrefixCache::insert(SeqId seq, TenantId tenant, std::vector<TokenId> tokens, bool kept) {
    erase(seq);
    if (tokens.empty()) return;
    auto& root = roots_[tenant];
    if (!root) root = std::make_unique<Node>();
    add(*root, seq, tokens);
    if (kept) ++kept_count_;
    entries_.emplace(seq, Entry{tenant, std::move(tokens), kept, ++uses_});
}

void PrefixCache::shorten(SeqId seq, std::size_t length) {
    Entry entry = entries_.at(seq);
    entry.tokens.resize(length);
    const std::uint64_t used = entry.used;
    insert(seq, entry.tenant, std::move(entry.tokens), entry.kept);
    entries_.at(seq).used = used;
}

void PrefixCache::erase(SeqId seq) {
    const auto found = entries_.find(seq);
    if (found == entries_.end()) return;
    const auto root = roots_.find(found->second.tenant);
    remove(*root->second, seq, found->second.tokens);
    if (root->second->children.empty()) roots_.erase(root);
    if (found->second.kept) --kept_count_;
    entries_.erase(found);
}

PrefixCache::Match PrefixCache::find(TenantId tenant, std::span<const TokenId> tokens) const {
    const auto root = roots_.find(tenant);
    if (root == roots_.end()) return {};
    const Node* node = root->second.get();
    std::size_t length = 0;
    while (length < tokens.size()) {
        const auto child = node->children.find(tokens[length]);
        if (child == node->children.end()) break;
        node = child->second.get();
        const std::size_t shared = common(node->label, tokens.subspan(length));
        length += shared;
        if (shared < node->label.size()) break;
    }
    if (length == 0) return {};
    // All that end below share these tokens.
    while (node->ends.empty())
        node = node->children.begin()->second.get();
    return {node->ends.front(), static_cast<std::uint32_t>(length)};
}

void PrefixCache::touch(SeqId seq) {
    if (const auto found = entries_.find(seq); found != entries_.end())
        found->second.used = ++uses_;
}

bool PrefixCache::is_kept(SeqId seq) const {
    const auto found = entries_.find(seq);
    return found != entries_.end() && found->second.kept;
}

std::span<const TokenId> PrefixCache::tokens(SeqId seq) const {
    const auto found = entries_.find(seq);
    if (found == entries_.end()) return {};
    return found->second.tokens;
}

std::optional<SeqId> PrefixCache::oldest() const {
    std::optional<SeqId> least;
    std::uint64_t used = 0;
    for (const auto& [seq, entry] : entries_) {
        if (!entry.kept || (least && entry.used >= used)) continue;
        least = seq;
        used = entry.used;
    }
    return least;
}

std::vector<SeqId> PrefixCache::beginnings_of(SeqId seq) const {
    std::vector<SeqId> found;
    const Entry& entry = entries_.at(seq);
    const Node* node = roots_.at(entry.tenant).get();
    std::span<const TokenId> rest(entry.tokens);
    while (!rest.empty()) {
        node = node->children.at(rest.front()).get();
        rest = rest.subspan(node->label.size());
        for (const SeqId end : node->ends) {
            if (end != seq && is_kept(end)) found.push_back(end);
        }
    }
    return found;
}

bool PrefixCache::is_beginning(SeqId seq) const {
    const Entry& entry = entries_.at(seq);
    const Node* node = roots_.at(entry.tenant).get();
    for (std::span<const TokenId> rest(entry.tokens); !rest.empty();
         rest = rest.subspan(node->label.size()))
        node = node->children.at(rest.front()).get();
    std::vector<const Node*> below{node};
    while (!below.empty()) {
        const Node* next = below.back();
        below.pop_back();
        for (const SeqId end : next->ends) {
            if (end != seq && is_kept(end)) return true;
        }
        for (const auto& [token, child] : next->children)
            below.push_back(child.get());
    }
    return false;
}

std::vector<SeqId> PrefixCache::kept() const {
    std::vector<SeqId> all;
    for (const auto& [seq, entry] : entries_) {
        if (entry.kept) all.push_back(seq);
    }
    return all;
}

void PrefixCache::clear() {
    entries_.clear();
    roots_.clear();
    kept_count_ = 0;
}

}  // namespace potluck::coordinator
