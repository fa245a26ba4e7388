#pragma once

// n-gram -> next token in one table of constant size, after llama.cpp's ngram-mod, without its
// warts (docs/speculation.md). A slot holds the token, 16 bits of the n-gram's hash that did not
// choose the slot, and the generation in which it was last right or written. Nothing is ever
// cleared: when a quarter of the table was newly written a generation passes, and what was not used
// for two is overwritten first and no longer found after kLifetime.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"
#include "coordinator/speculate/huge_pages.h"

namespace potluck::coordinator {

/// The hash of the last n tokens, rolled in O(1).
class RollingHash {
  public:
    explicit RollingHash(std::size_t n);
    /// `oldest` leaves, `token` comes in.
    void roll(TokenId oldest, TokenId token) {
        value_ = (value_ - word(oldest) * highest_) * kFactor + word(token);
    }
    /// Only `token` comes in, while there are fewer than n.
    void add(TokenId token) { value_ = value_ * kFactor + word(token); }
    /// Well mixed: the high bits of a sum of products depend on all tokens, the low ones do not.
    std::uint64_t mixed() const {
        const std::uint64_t h = (value_ ^ (value_ >> 32)) * 0x9E3779B97F4A7C15;
        return h ^ (h >> 29);
    }

  private:
    static constexpr std::uint64_t kFactor = 6364136223846793005;
    static std::uint64_t word(TokenId token) { return static_cast<std::uint32_t>(token) + 1ULL; }

    std::uint64_t value_ = 0;
    std::uint64_t highest_ = 1;  ///< kFactor to the power n - 1
};

class TokenPool {
  public:
    static constexpr std::size_t kBytes = std::size_t{16} << 20;
    static constexpr std::uint8_t kLifetime = 8;  ///< generations

    /// `slots`: a power of two.
    explicit TokenPool(std::size_t slots = kBytes / 8);

    void put(std::uint64_t hash, TokenId next);
    std::optional<TokenId> get(std::uint64_t hash) const;
    std::uint64_t generation() const { return generation_; }

  private:
    struct Slot {
        TokenId next = 0;
        std::uint16_t print = 0;
        std::uint8_t generation = 0;
        std::uint8_t used = 0;  ///< 0: empty
    };
    static_assert(sizeof(Slot) == 8);
    static std::uint16_t print_of(std::uint64_t hash) { return static_cast<std::uint16_t>(hash); }
    std::size_t place_of(std::uint64_t hash) const {
        return static_cast<std::size_t>(hash >> 20) & (slots_.size() - 1);
    }
    std::uint8_t age(const Slot& slot) const {
        return static_cast<std::uint8_t>(static_cast<std::uint8_t>(generation_) - slot.generation);
    }

    std::vector<Slot, HugePages<Slot>> slots_;
    std::size_t written_ = 0;  ///< slots that changed their n-gram in this generation
    std::uint64_t generation_ = 0;
};

}  // namespace potluck::coordinator
