#pragma once

// The texts of a vocabulary in one block of memory, and the way back from a text to its id.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace potluck::model {

std::uint64_t hash_text(std::string_view text);

class TokenTexts {
  public:
    /// Copies the texts. Where two tokens have one text, the later id is found (as elsewhere).
    static Result<TokenTexts> build(std::span<const std::string_view> texts);

    std::uint32_t size() const { return static_cast<std::uint32_t>(offsets_.size() - 1); }
    std::string_view operator[](std::uint32_t id) const {
        return std::string_view(block_).substr(offsets_[id], offsets_[id + 1] - offsets_[id]);
    }
    std::optional<std::uint32_t> find(std::string_view text) const {
        return find(text, hash_text(text));
    }
    std::optional<std::uint32_t> find(std::string_view text, std::uint64_t hash) const;
    /// Brings the first slot of `hash` nearer, for lookups in bulk.
    void prefetch(std::uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
    std::size_t longest() const { return longest_; }  ///< bytes
    bool has_duplicates() const { return has_duplicates_; }

  private:
    struct Slot {
        std::uint32_t id_plus_one = 0;  ///< 0: empty
        std::uint32_t tag = 0;          ///< upper half of the hash
    };
    void insert(std::uint32_t id);

    std::string block_;
    std::vector<std::uint32_t> offsets_{0};
    std::vector<Slot> slots_;
    std::uint64_t mask_ = 0;
    std::size_t longest_ = 0;
    bool has_duplicates_ = false;
};

}  // namespace potluck::model
