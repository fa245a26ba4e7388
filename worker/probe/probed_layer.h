#pragma once

// A layer's operations other than products, of a middling model, with memory to work on: what a
// probe times. All are enqueued.
//
// Thread: the device's. Owns its memory; device and stream must outlive it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "kernels/api/device.h"
#include "kernels/api/ops.h"

namespace potluck::worker {

class ProbedLayer {
  public:
    static constexpr std::size_t kMaxRows = 512;
    static constexpr std::size_t kWidth = 1024;
    static constexpr std::size_t kFfnWidth = 3072;
    static constexpr std::size_t kHeads = 8;
    static constexpr std::size_t kKvHeads = 4;
    static constexpr std::size_t kHeadDim = 128;
    static constexpr std::size_t kKeys = 1024;  ///< of one sequence, written

    static Result<ProbedLayer> make(kernels::Device& device, kernels::Stream& stream);

    /// Attention of rows of the sequence, the first of them at position `first`.
    Status attend(std::size_t first, std::size_t rows);
    /// What is left without products and attention: norms, sums, rotation, store, activation.
    Status other_operations(std::size_t rows);

  private:
    ProbedLayer(kernels::Device& device, kernels::Stream& stream)
        : device_(&device), stream_(&stream) {}
    Status allocate();
    Status allocate_attention();
    Status fill();
    Result<std::unique_ptr<kernels::Buffer>> uploaded(const std::vector<std::int32_t>& values);
    Status store_keys(std::size_t first, std::size_t rows);
    kernels::KvCache cache();

    kernels::Device* device_;
    kernels::Stream* stream_;
    std::unique_ptr<kernels::Buffer> residual_, norm_, q_, k_, v_, gate_, up_, angles_;
    std::unique_ptr<kernels::Buffer> keys_, values_;
    std::unique_ptr<kernels::Buffer> positions_;  ///< 0 .. kKeys - 1, which are slots, too
    std::unique_ptr<kernels::Buffer> page_table_, row_tables_, scratch_, attended_;
};

}  // namespace potluck::worker
