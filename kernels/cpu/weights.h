#pragma once

// The two families behind weight_kernels(): the scalar reference on GGUF bytes, and tiles for the
// vector instruction sets. Signatures as in weight_kernels.h.

#include <cstddef>
#include <memory>
#include <span>

#include "base/result.h"
#include "kernels/api/ops.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/tile_kernels.h"
#include "kernels/cpu/tile_scratch.h"
#include "kernels/cpu/weight_arena.h"

namespace potluck::kernels::cpu {

Result<std::unique_ptr<PackedWeight>> pack_scalar(ThreadPool& pool, WeightArena& arena,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range);
Result<std::unique_ptr<PackedWeight>> keep_scalar(ThreadPool& pool, WeightArena& arena,
                                                  const std::shared_ptr<TileScratch>& scratch,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range);
std::size_t packed_bytes_scalar(TensorType type, std::size_t columns, std::size_t rows);
void matmul_scalar(ThreadPool& pool, std::span<const MatmulArgs> products);
void quantize_scalar(const float* x, std::size_t blocks, std::size_t begin, std::size_t end,
                     ActivationBlock* out);

Result<std::unique_ptr<PackedWeight>> pack_vector(ThreadPool& pool, WeightArena& arena,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range);
Result<std::unique_ptr<PackedWeight>> keep_vector(ThreadPool& pool, WeightArena& arena,
                                                  const std::shared_ptr<TileScratch>& scratch,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range);
std::size_t packed_bytes_vector(TensorType type, std::size_t columns, std::size_t rows);
void matmul_vector(ThreadPool& pool, std::span<const MatmulArgs> products,
                   const VectorKernels& kernels);

/// Common to all: splits the blocks of all rows over the pool.
void quantize_rows(ThreadPool& pool, const QuantizeArgs& args, QuantizeKernel kernel);
/// Common to all: every layout is decoded block by block (block32.h).
void embed_rows(ThreadPool& pool, const EmbedArgs& args);

}  // namespace potluck::kernels::cpu
