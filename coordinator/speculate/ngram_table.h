#pragma once

// Counts of what followed an n-gram: n-gram -> up to four tokens, each with how often. Grows to a
// bound; then the rarest n-gram of a few neighbours gives way.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ids.h"
#include "coordinator/speculate/huge_pages.h"

namespace potluck::coordinator {

/// 64 bits of an n-gram; two of different lengths differ like any others. Never 0.
std::uint64_t ngram_key(std::span<const TokenId> ngram);
/// The key of no tokens, and of an n-gram with one more token before it.
inline constexpr std::uint64_t kEmptyNgram = 0x9E3779B97F4A7C15;
constexpr std::uint64_t longer_ngram(std::uint64_t key, TokenId before) {
    key = (key ^ static_cast<std::uint32_t>(before)) * 0xFF51AFD7ED558CCD;
    return (key ^ (key >> 32)) | 1;
}

class NgramTable {
  public:
    static constexpr std::size_t kSuccessors = 4;

    /// `most` n-grams (a power of two), 32 bytes each.
    explicit NgramTable(std::size_t most);

    void add(std::uint64_t key, TokenId next);

    struct Best {
        TokenId token = 0;
        std::uint32_t count = 0;
        std::uint32_t total = 0;
    };
    /// What followed most often; among equals what came last.
    std::optional<Best> best(std::uint64_t key) const;
    std::size_t size() const { return size_; }
    std::size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

  private:
    static constexpr std::size_t kProbes = 8;
    struct Entry {
        std::uint64_t key = 0;  ///< 0: empty
        std::array<TokenId, kSuccessors> tokens{};
        std::array<std::uint16_t, kSuccessors> counts{};  ///< the newest stands first

        std::uint32_t total() const;
        void count(TokenId token);
    };
    static_assert(sizeof(Entry) == 32);

    Entry& place(std::uint64_t key);
    void grow();

    std::vector<Entry, HugePages<Entry>> entries_;
    std::size_t most_;
    std::size_t size_ = 0;
};

}  // namespace potluck::coordinator
