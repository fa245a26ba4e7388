#pragma once

// A bounded queue between exactly two threads without a lock: for a thread of the lowest class,
// which may lose its processor at any moment and must then hold nothing that the other one waits
// for. Between equals base/bounded_queue.h is the queue. Full means back-pressure: `try_push` says
// no.

#include <atomic>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <vector>

#include "base/check.h"

namespace potluck {

/// Items are copied, so that none of them takes memory of one thread's to the other.
template <typename T>
class SpscRing {
    static_assert(std::is_trivially_copyable_v<T>);

  public:
    explicit SpscRing(std::size_t capacity) : slots_(capacity) { POTLUCK_CHECK(capacity > 0); }

    /// The one thread only.
    [[nodiscard]] bool try_push(const T& item) {
        const std::size_t pushed = pushed_.load(std::memory_order_relaxed);
        if (pushed - popped_.load(std::memory_order_acquire) == slots_.size()) return false;
        slots_[pushed % slots_.size()] = item;
        pushed_.store(pushed + 1, std::memory_order_release);
        return true;
    }
    /// The other thread only.
    std::optional<T> try_pop() {
        const std::size_t popped = popped_.load(std::memory_order_relaxed);
        if (popped == pushed_.load(std::memory_order_acquire)) return std::nullopt;
        const T item = slots_[popped % slots_.size()];
        popped_.store(popped + 1, std::memory_order_release);
        return item;
    }

  private:
    std::vector<T> slots_;
    alignas(64) std::atomic<std::size_t> pushed_{0};
    alignas(64) std::atomic<std::size_t> popped_{0};
};

}  // namespace potluck
