#pragma once

// One position of one head on its way into the cache and back (docs/arithmetic.md, "Keys and values
// in the cache"). What differs between instruction sets is a table of three functions; how numbers
// lie in a block is common to all (kv_rows.cpp).

#include <cstddef>
#include <cstdint>

#include "base/kv_type.h"

namespace potluck::kernels::cpu {

struct KvRowKernels {
    /// `n` values (32, 64 or 128) turned by the fixed rotation, or turned back; out may be x.
    void (*rotate)(const float* x, std::size_t n, bool back, float* out) = nullptr;
    /// 32 values to the levels of q8_0, q5_0 or q4_0; gives the scale as f16.
    std::uint16_t (*quantize_block)(KvType type, const float* x, std::int8_t* q) = nullptr;
    /// `n` values (32, 64 or 128) to points of turbo3; gives the scale as f16.
    std::uint16_t (*quantize_turbo)(const float* x, std::size_t n, std::int8_t* index) = nullptr;
};

/// One per file; FloatKernels refers to them.
extern const KvRowKernels kKvRowKernelsScalar;
extern const KvRowKernels kKvRowKernelsAvx2;
extern const KvRowKernels kKvRowKernelsAvx512;

/// Every group of a head's values turned (queries before attention), or turned back (its output);
/// out may be x. `rotation` is kv_rotation() and not 0.
void rotate_head(const KvRowKernels& kernels, const float* x, std::size_t head_dim,
                 std::size_t rotation, bool back, float* out);

/// Stores a head's key or value as `type`, not f16: kv_row_bytes(type, head_dim) at `out`.
void write_kv_row(const KvRowKernels& kernels, KvType type, const float* x, std::size_t head_dim,
                  std::byte* out);

/// Value `i` of a stored row (still turned, if the type is rotated).
float read_kv(KvType type, const std::byte* row, std::size_t head_dim, std::size_t i);

}  // namespace potluck::kernels::cpu
