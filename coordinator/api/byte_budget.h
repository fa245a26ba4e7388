#pragma once

// A bound on what many requests hold together. Any thread.

#include <atomic>
#include <cstddef>
#include <utility>

namespace potluck::coordinator::api {

class ByteBudget {
  public:
    explicit ByteBudget(std::size_t most) : most_(most) {}

    [[nodiscard]] bool take(std::size_t bytes) {
        if (held_.fetch_add(bytes) + bytes <= most_) return true;
        held_.fetch_sub(bytes);
        return false;
    }
    void give_back(std::size_t bytes) { held_.fetch_sub(bytes); }
    std::size_t held() const { return held_.load(); }

  private:
    const std::size_t most_;
    std::atomic<std::size_t> held_{0};
};

/// What one request holds of a budget, which must outlive it. Moves with the bytes.
class ByteShare {
  public:
    explicit ByteShare(ByteBudget& budget) : budget_(&budget) {}
    ByteShare(ByteShare&& other) noexcept
        : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
    ByteShare& operator=(ByteShare&&) = delete;
    ~ByteShare() { clear(); }

    /// False, and nothing changes, if the budget has not so much left.
    [[nodiscard]] bool grow_to(std::size_t bytes) {
        if (bytes <= bytes_) return true;
        if (!budget_->take(bytes - bytes_)) return false;
        bytes_ = bytes;
        return true;
    }
    void clear() { budget_->give_back(std::exchange(bytes_, 0)); }

  private:
    ByteBudget* budget_;
    std::size_t bytes_ = 0;
};

}  // namespace potluck::coordinator::api
