#include "coordinator/speculate/token_pool.h"

namespace potluck::coordinator {
namespace {

constexpr std::uint8_t kFresh = 2;  ///< generations in which a slot is not given away

}  // namespace

RollingHash::RollingHash(std::size_t n) {
    for (std::size_t i = 1; i < n; ++i)
        highest_ *= kFactor;
}

TokenPool::TokenPool(std::size_t slots) : slots_(slots) {}

void TokenPool::put(std::uint64_t hash, TokenId next) {
    // Two neighbours to choose from: the n-gram's own, an empty one, the older one.
    Slot& first = slots_[place_of(hash)];
    Slot& second = slots_[place_of(hash) ^ 1];
    const std::uint16_t print = print_of(hash);
    Slot* slot = nullptr;
    for (Slot* candidate : {&first, &second}) {
        if (candidate->used != 0 && candidate->print == print) slot = candidate;
    }
    const bool known = slot != nullptr;
    if (!known) {
        slot = &first;
        if (first.used != 0 && (second.used == 0 || age(second) > age(first))) slot = &second;
        // A fresh pair gives way, too, but only one of the two in turn with the hash.
        if (slot->used != 0 && age(*slot) < kFresh && (hash >> 63) != 0)
            slot = slot == &first ? &second : &first;
        ++written_;
    }
    *slot = {next, print, static_cast<std::uint8_t>(generation_), 1};
    if (written_ * 4 >= slots_.size()) {
        written_ = 0;
        ++generation_;
    }
}

std::optional<TokenId> TokenPool::get(std::uint64_t hash) const {
    const std::size_t place = place_of(hash);
    for (const std::size_t i : {place, place ^ 1}) {
        const Slot& slot = slots_[i];
        if (slot.used != 0 && slot.print == print_of(hash) && age(slot) <= kLifetime)
            return slot.next;
    }
    return std::nullopt;
}

}  // namespace potluck::coordinator
