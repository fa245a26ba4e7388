#pragma once

// A bounded queue between threads, the only thing besides the log, the metric registry and the
// thread pools that holds a mutex. Full means back-pressure: `try_push` says no and keeps nothing.

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"

namespace potluck {

template <typename T>
class BoundedQueue {
  public:
    /// Space for `capacity` items is taken now; nothing is allocated later.
    explicit BoundedQueue(std::size_t capacity) : slots_(capacity) { POTLUCK_CHECK(capacity > 0); }

    /// False if the queue is full or closed; `item` is then untouched.
    [[nodiscard]] bool try_push(T&& item) {
        {
            std::lock_guard lock(mutex_);
            if (closed_ || count_ == slots_.size()) return false;
            slots_[(first_ + count_) % slots_.size()] = std::move(item);
            ++count_;
        }
        ready_.notify_one();
        return true;
    }

    /// Waits for an item; empty once the queue is closed and drained.
    std::optional<T> pop() {
        std::unique_lock lock(mutex_);
        ready_.wait(lock, [&] { return count_ > 0 || closed_; });
        return take(lock);
    }

    std::optional<T> try_pop() {
        std::unique_lock lock(mutex_);
        return take(lock);
    }

    /// No more pushes; waiting and later pops get what is left, then nothing.
    void close() {
        {
            std::lock_guard lock(mutex_);
            closed_ = true;
        }
        ready_.notify_all();
    }

    std::size_t size() const {
        std::lock_guard lock(mutex_);
        return count_;
    }
    std::size_t capacity() const { return slots_.size(); }

  private:
    std::optional<T> take(std::unique_lock<std::mutex>&) {
        if (count_ == 0) return std::nullopt;
        std::optional<T> item(std::move(slots_[first_]));
        slots_[first_] = T{};
        first_ = (first_ + 1) % slots_.size();
        --count_;
        return item;
    }

    mutable std::mutex mutex_;
    std::condition_variable ready_;
    std::vector<T> slots_;
    std::size_t first_ = 0;
    std::size_t count_ = 0;
    bool closed_ = false;
};

}  // namespace potluck
