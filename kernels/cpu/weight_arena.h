#pragma once

// Memory for packed weights: large regions of address space on huge pages, cut into pieces. A model
// has hundreds of matrices of a megabyte or two, each too small for huge pages of its own, and on
// small pages a decode step spends much of its time in the processor's page walks.

#include <cstddef>
#include <memory>

#include "base/result.h"

namespace potluck::kernels::cpu {

/// A piece of an arena: 64-byte aligned, not zeroed, so that whoever fills it first decides which
/// thread touches it. Gives its pages back when it goes; keeps its region alive.
class PackedMemory {
  public:
    PackedMemory() = default;
    PackedMemory(PackedMemory&& other) noexcept;
    PackedMemory& operator=(PackedMemory&& other) noexcept;
    ~PackedMemory();

    std::byte* data() const { return data_; }
    std::size_t size() const { return size_; }

  private:
    friend class WeightArena;
    class Region;
    PackedMemory(std::shared_ptr<Region> region, std::byte* data, std::size_t size);

    std::shared_ptr<Region> region_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Thread: that of its device. Pieces may outlive it.
class WeightArena {
  public:
    WeightArena();
    ~WeightArena();
    WeightArena(const WeightArena&) = delete;
    WeightArena& operator=(const WeightArena&) = delete;

    /// kResourceExhausted if the system has less memory than that.
    Result<PackedMemory> allocate(std::size_t bytes);

  private:
    std::shared_ptr<PackedMemory::Region> region_;  ///< where the next pieces come from
    std::size_t used_ = 0;                          ///< bytes of it
};

}  // namespace potluck::kernels::cpu
