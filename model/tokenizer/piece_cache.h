#pragma once

// Remembers, within one call, what short pieces were encoded to: text repeats its words. Direct
// mapped, so its size is fixed and no input can make it slow.

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace potluck::model {

class PieceCache {
  public:
    /// Sized for a text of that many bytes.
    explicit PieceCache(std::size_t text_bytes)
        : entries_(std::bit_ceil(std::min<std::size_t>(text_bytes / 8 + 16, 8192))) {}

    bool append_if_known(std::string_view piece, std::vector<TokenId>& out) const {
        if (piece.size() > kLongestPiece) return false;
        const Key key = key_of(piece);
        const Entry& entry = entries_[slot(key)];
        if (entry.size != piece.size() || entry.key != key) return false;
        out.insert(out.end(), entry.ids.begin(), entry.ids.begin() + entry.count);
        return true;
    }
    void remember(std::string_view piece, std::span<const TokenId> ids) {
        if (piece.size() > kLongestPiece || ids.size() > kMostIds) return;
        const Key key = key_of(piece);
        Entry& entry = entries_[slot(key)];
        entry.key = key;
        entry.size = static_cast<std::uint8_t>(piece.size());
        entry.count = static_cast<std::uint8_t>(ids.size());
        std::copy(ids.begin(), ids.end(), entry.ids.begin());
    }

  private:
    static constexpr std::size_t kLongestPiece = 16;
    static constexpr std::size_t kMostIds = 5;
    using Key = std::array<std::uint64_t, 2>;  ///< the piece's bytes, then zeros

    struct Entry {
        Key key{};
        std::array<TokenId, kMostIds> ids{};
        std::uint8_t size = 0;  ///< 0: empty
        std::uint8_t count = 0;
    };

    static Key key_of(std::string_view piece) {
        Key key{};
        std::memcpy(key.data(), piece.data(), piece.size());
        return key;
    }
    std::size_t slot(const Key& key) const {
        const std::uint64_t hash =
            (key[0] * 0x9E3779B97F4A7C15 ^ std::rotl(key[1], 31)) * 0xD1B54A32D192ED03;
        return static_cast<std::size_t>(hash >> 40) & (entries_.size() - 1);
    }

    std::vector<Entry> entries_;
};

}  // namespace potluck::model
