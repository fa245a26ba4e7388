#pragma once

// One tile's memory for each thread of a device, for weights that stay as the file has them and are
// packed tile by tile while they are used.

#include <atomic>
#include <cstddef>
#include <memory>

#include "base/aligned_buffer.h"

namespace potluck::kernels::cpu {

class TileScratch {
    struct Slot {
        AlignedBuffer memory;
        std::atomic<bool> taken{false};
    };

  public:
    explicit TileScratch(std::size_t threads)
        : threads_(threads), slots_(std::make_unique<Slot[]>(threads)) {}

    /// Makes every thread's memory at least so large. Between operations only.
    void reserve(std::size_t bytes) {
        if (bytes <= bytes_) return;
        for (std::size_t i = 0; i < threads_; ++i)
            slots_[i].memory = AlignedBuffer(bytes);
        bytes_ = bytes;
    }

    /// One of the slots until it goes; there is always a free one for each thread of the device.
    class Lease {
      public:
        explicit Lease(TileScratch& scratch) {
            for (std::size_t i = 0;; i = (i + 1) % scratch.threads_) {
                slot_ = &scratch.slots_[i];
                if (!slot_->taken.exchange(true, std::memory_order_acquire)) return;
            }
        }
        ~Lease() { slot_->taken.store(false, std::memory_order_release); }
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        std::byte* data() const { return slot_->memory.data(); }

      private:
        Slot* slot_ = nullptr;
    };

  private:
    std::size_t threads_;
    std::size_t bytes_ = 0;
    std::unique_ptr<Slot[]> slots_;
};

}  // namespace potluck::kernels::cpu
