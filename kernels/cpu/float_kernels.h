#pragma once

// The float side of the CPU device: what each instruction set computes for one row (or one tile of
// attention). Threads, checks and the walk over pages are common to all (float_ops.cpp,
// attention.cpp). Every table gives the same bits; the scalar one is their definition.
//
// The *_avx2.cpp and *_avx512.cpp files call no inline function of a shared header: the linker
// could otherwise choose their copy of it for the whole program, which must run without AVX.

#include <cstddef>
#include <cstdint>

#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/kv_rows.h"

namespace potluck::kernels::cpu {

/// Queries (a row's head each) that share a pass over the keys of one kv head.
inline constexpr std::size_t kTileQueries = 16;

/// Queries on their way through the key blocks. `o`, `max` and `sum` are the running O, M, L of
/// docs/arithmetic.md; they hold nothing until `begun`.
struct AttentionTile {
    std::size_t n_queries = 0;
    bool begun = false;
    const float* q[kTileQueries] = {};  ///< [head_dim] each
    float* o[kTileQueries] = {};        ///< [head_dim] each
    float max[kTileQueries] = {};
    float sum[kTileQueries] = {};

    // The block at hand.
    std::uint32_t n_keys[kTileQueries] = {};  ///< keys that the query sees; 0: not this block
    float block_max[kTileQueries] = {};
    float block_sum[kTileQueries] = {};
    float old_weight[kTileQueries] = {};  ///< `a` of docs/arithmetic.md
    float new_weight[kTileQueries] = {};  ///< `c`
    alignas(64) float p[kTileQueries][kPageTokens] = {};
};

struct FloatKernels {
    void (*rms_norm)(const float* x, const float* weight, std::size_t width, float epsilon,
                     float* out) = nullptr;
    /// angles[p] = (cos, sin) of position * inv_freq[p], times magnitude.
    void (*rope_angles)(std::int32_t position, const double* inv_freq, std::size_t n_pairs,
                        double magnitude, float* angles) = nullptr;
    /// All heads of one row, in place; `row.x` and `row.angles` are the row's own.
    void (*rope)(const RopeArgs& row) = nullptr;
    void (*to_half)(const float* x, std::size_t n, std::uint16_t* out) = nullptr;
    void (*swiglu)(const float* gate, const float* up, std::size_t n, float* out) = nullptr;
    void (*add)(const float* a, const float* b, std::size_t n, float* out) = nullptr;

    const KvRowKernels* kv_rows = nullptr;

    /// Takes the tile through one key block in two steps, first its keys, then its values: `k` and
    /// `v` are [kPageTokens] rows of their types, and all of them may be read, whatever n_keys is.
    void (*attention_scores)(AttentionTile& tile, KvType type, const std::byte* k,
                             std::size_t head_dim, float scale) = nullptr;
    void (*attention_values)(AttentionTile& tile, KvType type, const std::byte* v,
                             std::size_t head_dim) = nullptr;
    /// Combines a block that was computed elsewhere: block_max and block_sum are set, block_o[q]
    /// is [head_dim].
    void (*attention_combine)(AttentionTile& tile, const float* const* block_o,
                              std::size_t head_dim) = nullptr;
    /// o = o * (1 / sum).
    void (*attention_finish)(AttentionTile& tile, std::size_t head_dim) = nullptr;
};

const FloatKernels& float_kernels(Isa isa);

/// One per file; use float_kernels().
extern const FloatKernels kFloatKernelsScalar;
extern const FloatKernels kFloatKernelsAvx2;
extern const FloatKernels kFloatKernelsAvx512;

}  // namespace potluck::kernels::cpu
