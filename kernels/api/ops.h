#pragma once

// The op table: one plain function per operation, `Status op(Stream&, const XxxArgs&)`. An op
// enqueues, allocates nothing and takes its scratch from the caller. All pointers are device
// memory; in particular everything that changes between decode steps (tokens, positions, page
// tables, row -> sequence) is, so that a step can be captured once and replayed. Arguments are
// copied by the call. What each op computes, to the bit, is docs/arithmetic.md. Matrices are
// row-major, one batch row after another; "row" always means a row of the batch (one token), never
// a weight's row.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/kv_type.h"
#include "base/result.h"
#include "kernels/api/device.h"

namespace potluck::kernels {

/// Keys per attention block and per page of the KV cache.
inline constexpr std::size_t kPageTokens = 64;

/// out[row][c] = dequantised weight row tokens[row]. A token outside the weight gives zeros (the
/// host has refused it before; this keeps memory safe).
struct EmbedArgs {
    const PackedWeight* weight = nullptr;
    const std::int32_t* tokens = nullptr;  ///< [n_rows]
    std::size_t n_rows = 0;
    float* out = nullptr;  ///< [n_rows][weight columns]
};

/// RMS norm of `n_rows` groups of `width` values, each with the same weight. A per-head norm is a
/// norm with n_rows = rows * heads and width = head_dim. `out` may be `x`.
struct RmsNormArgs {
    const float* x = nullptr;       ///< [n_rows][width]
    const float* weight = nullptr;  ///< [width]
    std::size_t n_rows = 0;
    std::size_t width = 0;
    float epsilon = 0;
    float* out = nullptr;  ///< [n_rows][width]
};

/// f32 rows to the int8x32 form; `columns` is a multiple of 32.
struct QuantizeArgs {
    const float* x = nullptr;  ///< [n_rows][columns]
    std::size_t n_rows = 0;
    std::size_t columns = 0;
    std::byte* out = nullptr;  ///< Device::activation_bytes(kInt8x32, n_rows, columns), opaque
};

/// out[row][o] = weight[o] . activations[row] (+ bias[o]).
struct MatmulArgs {
    const PackedWeight* weight = nullptr;
    const std::byte* activations =
        nullptr;  ///< in activation_form(weight->type()); f32 rows if kF32
    std::size_t n_rows = 0;
    const float* bias = nullptr;  ///< [weight rows] or null
    float* out = nullptr;         ///< [n_rows][weight rows]
};

/// angles[row][p] = (cos, sin) of positions[row] * inv_freq[p], times `magnitude`. Once per step;
/// all layers share it.
struct RopeAnglesArgs {
    const std::int32_t* positions = nullptr;  ///< [n_rows]
    std::size_t n_rows = 0;
    const double* inv_freq = nullptr;  ///< [n_pairs]
    std::size_t n_pairs = 0;
    double magnitude = 1;
    float* angles = nullptr;  ///< [n_rows][n_pairs][2]
};

/// Which two elements of a head turn together: neighbours (2p, 2p+1) or halves (p, p + n_rot/2).
enum class RopePairing : std::uint8_t { kNeighbours, kHalves };

/// In place on x; elements from 2 * n_pairs on stay as they are.
struct RopeArgs {
    float* x = nullptr;  ///< [n_rows][n_heads][head_dim]
    std::size_t n_rows = 0;
    std::size_t n_heads = 0;
    std::size_t head_dim = 0;
    std::size_t n_pairs = 0;
    RopePairing pairing = RopePairing::kHalves;
    const float* angles = nullptr;  ///< [n_rows][n_pairs][2]
};

/// Where one layer's keys and values lie: [page][kv_head][kPageTokens] rows of
/// kv_row_bytes(type, head_dim). Rotation, where a type has one, is the device's business: it turns
/// what it stores, the queries and the output.
struct KvCache {
    std::byte* k = nullptr;
    std::byte* v = nullptr;
    std::size_t n_pages = 0;
    std::size_t kv_heads = 0;
    std::size_t head_dim = 0;
    KvType k_type = KvType::kF16;
    KvType v_type = KvType::kF16;
};

/// Stores each row's k and v at slots[row] = page * kPageTokens + place in the page.
struct KvStoreArgs {
    const float* k = nullptr;  ///< [n_rows][kv_heads][head_dim]
    const float* v = nullptr;  ///< the same
    std::size_t n_rows = 0;
    const std::int32_t* slots = nullptr;  ///< [n_rows]
    KvCache cache;
};

/// Copies whole pages within one layer's cache (copy on write of a shared page).
struct KvCopyArgs {
    const std::int32_t* pages = nullptr;  ///< [n_copies][2]: from, to
    std::size_t n_copies = 0;
    KvCache cache;
};

/// Causal attention of each row over positions 0..positions[row] of its sequence.
struct AttentionArgs {
    const float* q = nullptr;  ///< [n_rows][heads][head_dim]
    std::size_t n_rows = 0;
    std::size_t heads =
        0;  ///< a multiple of cache.kv_heads; head h reads kv head h / (heads/kv_heads)
    float scale = 1;
    const std::int32_t* positions = nullptr;   ///< [n_rows]
    const std::int32_t* row_tables = nullptr;  ///< [n_rows]: which page table a row uses
    const std::int32_t* page_tables =
        nullptr;  ///< [tables][table_stride]: page of each 64 positions
    std::size_t table_stride = 0;
    KvCache cache;
    std::byte* scratch = nullptr;  ///< Device::attention_scratch_bytes
    std::size_t scratch_bytes = 0;
    float* out = nullptr;  ///< [n_rows][heads][head_dim]
};

/// out = silu(gate) * up, over n values. `out` may be either input.
struct SwigluArgs {
    const float* gate = nullptr;
    const float* up = nullptr;
    std::size_t n = 0;
    float* out = nullptr;
};

/// out = a + b, over n values. `out` may be either input.
struct AddArgs {
    const float* a = nullptr;
    const float* b = nullptr;
    std::size_t n = 0;
    float* out = nullptr;
};

/// out[i] = x[indices[i]].
struct GatherRowsArgs {
    const float* x = nullptr;  ///< [..][width]
    const std::int32_t* indices = nullptr;
    std::size_t n_rows = 0;
    std::size_t width = 0;
    float* out = nullptr;  ///< [n_rows][width]
};

/// Several products of the same rows, as of q, k and v.
struct MatmulGroupArgs {
    static constexpr std::size_t kMax = 4;
    std::array<MatmulArgs, kMax> products;  ///< each with the same activations and n_rows
    std::size_t n_products = 0;
};
/// rms_norm followed by quantize of rows of norm.width values.
struct RmsNormQuantizeArgs {
    RmsNormArgs norm;  ///< norm.out is room for the f32 rows; what it holds afterwards is not said
    std::byte* out = nullptr;
};
/// swiglu followed by quantize of rows of `columns` values.
struct SwigluQuantizeArgs {
    SwigluArgs swiglu;  ///< swiglu.out as norm.out above
    std::size_t columns = 0;
    std::byte* out = nullptr;
};
/// rope of q and k, then kv_store.
struct RopeKvStoreArgs {
    RopeArgs q;
    RopeArgs k;
    KvStoreArgs store;
};

template <typename Args>
using Op = Status (*)(Stream&, const Args&);

struct OpTable {
    Op<EmbedArgs> embed = nullptr;
    Op<RmsNormArgs> rms_norm = nullptr;
    Op<QuantizeArgs> quantize = nullptr;
    Op<MatmulArgs> matmul = nullptr;
    Op<RopeAnglesArgs> rope_angles = nullptr;
    Op<RopeArgs> rope = nullptr;
    Op<KvStoreArgs> kv_store = nullptr;
    Op<KvCopyArgs> kv_copy = nullptr;
    Op<AttentionArgs> attention = nullptr;
    Op<SwigluArgs> swiglu = nullptr;
    Op<AddArgs> add = nullptr;
    Op<GatherRowsArgs> gather_rows = nullptr;

    // Optional: null means that the engine calls the plain ops one after another.
    Op<MatmulGroupArgs> matmul_group = nullptr;
    Op<RmsNormQuantizeArgs> rms_norm_quantize = nullptr;
    Op<SwigluQuantizeArgs> swiglu_quantize = nullptr;
    Op<RopeKvStoreArgs> rope_kv_store = nullptr;
};

}  // namespace potluck::kernels
