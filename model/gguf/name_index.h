#pragma once

// Finds items by name. Sorted, not hashed: names come from files, and a file made of names that
// collide in a known hash function would turn a hash map into a quadratic one.

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace potluck::model::gguf {

class NameIndex {
  public:
    NameIndex() = default;

    /// `name_of(item)` gives the name, which must outlive the index. Positions are those in
    /// `items`.
    template <typename Items, typename NameOf>
    NameIndex(const Items& items, NameOf name_of) {
        entries_.reserve(items.size());
        for (const auto& item : items)
            entries_.emplace_back(name_of(item), entries_.size());
        std::sort(entries_.begin(), entries_.end());
    }

    std::optional<std::size_t> find(std::string_view name) const {
        const auto found =
            std::lower_bound(entries_.begin(), entries_.end(), name,
                             [](const auto& entry, std::string_view n) { return entry.first < n; });
        if (found == entries_.end() || found->first != name) return std::nullopt;
        return found->second;
    }

    /// Positions of two items of one name, in their order; nothing if all names differ.
    std::optional<std::pair<std::size_t, std::size_t>> duplicate() const {
        const auto found =
            std::adjacent_find(entries_.begin(), entries_.end(),
                               [](const auto& a, const auto& b) { return a.first == b.first; });
        if (found == entries_.end()) return std::nullopt;
        return std::pair(found->second, std::next(found)->second);
    }

  private:
    std::vector<std::pair<std::string_view, std::size_t>> entries_;
};

}  // namespace potluck::model::gguf
