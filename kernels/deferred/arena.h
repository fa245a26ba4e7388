#pragma once

// The deferred device's address space: one reserved range in which nothing can be touched except
// while open() holds.

#include <cstddef>
#include <map>
#include <memory>

#include "base/result.h"

namespace potluck::kernels::deferred {

class Arena {
  public:
    /// Reserves addresses, not memory. kResourceExhausted if even a small range is refused.
    static Result<std::unique_ptr<Arena>> reserve();
    /// Takes over a mapping that nothing may touch.
    Arena(std::byte* base, std::size_t size);
    ~Arena();
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    /// Zeroed, 64-byte aligned; what follows it (after that alignment) can never be touched. Null
    /// if the range is used up.
    std::byte* allocate(std::size_t bytes);
    /// From now on nobody can touch it, not even work that is queued. Its addresses come back into
    /// use after the next close().
    void release(std::byte* data);

    /// Makes live memory readable and writable; nothing is open if it fails.
    Status open();
    /// Makes it untouchable again.
    void close();

    std::size_t free_bytes() const { return size_ - used_; }

  private:
    /// A piece of the range, whole pages: a page that is never touched, then the memory.
    struct Piece {
        std::size_t bytes = 0;
        std::byte* data = nullptr;  ///< what allocate() returned; null if the piece is free
        bool released = false;      ///< free after the next close()
    };
    bool protect(std::byte* begin, const Piece& piece, int protection);
    void reclaim();

    std::byte* base_;
    std::size_t size_;
    std::size_t used_ = 0;
    std::map<std::byte*, Piece> pieces_;  ///< by address, together the whole range
};

}  // namespace potluck::kernels::deferred
