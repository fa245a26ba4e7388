#pragma once

// The weight side of the CPU device: packing, activation quantisation, matrix products and
// embedding, one table per instruction set. kernels/cpu/cpu_device.cpp puts them behind the op
// table.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "base/tensor_type.h"
#include "kernels/api/ops.h"
#include "kernels/cpu/activations.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/tile_scratch.h"
#include "kernels/cpu/weight_arena.h"

namespace potluck::kernels::cpu {

/// All functions are synchronous, allocate nothing (except pack) and split their work over the
/// pool.
struct WeightKernels {
    Result<std::unique_ptr<PackedWeight>> (*pack)(ThreadPool& pool, WeightArena& arena,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range) = nullptr;
    /// The same without packing: `bytes` must outlive the weight. Products pack each tile when they
    /// come to it, in `scratch`, which has a slot for each of the pool's threads.
    Result<std::unique_ptr<PackedWeight>> (*keep)(ThreadPool& pool, WeightArena& arena,
                                                  const std::shared_ptr<TileScratch>& scratch,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range) = nullptr;
    std::size_t (*packed_bytes)(TensorType type, std::size_t columns, std::size_t rows) = nullptr;
    std::size_t (*activation_bytes)(ActivationForm form, std::size_t rows,
                                    std::size_t columns) = nullptr;
    QuantizeKernel quantize = nullptr;  ///< what quantize_rows() does in a task
    /// Products of the same rows: their work is shared out together.
    void (*matmul)(ThreadPool& pool, std::span<const MatmulArgs> products) = nullptr;
    void (*embed)(ThreadPool& pool, const EmbedArgs& args) = nullptr;
    std::optional<std::string> (*unsupported)(TensorType type, std::size_t columns) = nullptr;
};

const WeightKernels& weight_kernels(Isa isa);

}  // namespace potluck::kernels::cpu
