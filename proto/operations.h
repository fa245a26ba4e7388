#pragma once

// Operations of a rows frame on the wire, version 1. Private to proto/.
//
// An operation is a u32 count of the bytes that follow, then packed and little-endian:
//   u8 kind, u64 seq, and by kind
//   open        u32 tenant, sampler, u32 n_tokens, n_tokens x i32
//   fork        u64 source, u32 length
//   truncate    u32 length
//   commit      u32 length
//   checkpoint  u64 checkpoint
//   restore     u64 checkpoint, u32 n_tokens, n_tokens x i32
//   release     nothing
// sampler is u64 seed, f32 temperature, i32 top_k, f32 top_p, f32 min_p, f32 repetition_penalty,
// f32 presence_penalty, f32 frequency_penalty, i32 penalty_window, u32 n_bias, n_bias x (i32, f32).
// Later versions add fields at the end of an operation; version 1 refuses what it does not know.

#include <cstddef>
#include <span>
#include <vector>

#include "base/batch.h"
#include "base/result.h"

namespace potluck::proto {

/// The smallest operation: length, kind, seq.
inline constexpr std::size_t kMinOperationBytes = 4 + 1 + 8;

std::size_t operations_size(std::span<const Operation> operations);
/// `space` has exactly operations_size bytes.
void encode_operations(std::span<const Operation> operations, std::span<std::byte> space);
/// Reads exactly `count` operations from exactly `bytes`, reusing the capacity of `operations`.
Status decode_operations(std::span<const std::byte> bytes, std::size_t count,
                         std::vector<Operation>& operations);

}  // namespace potluck::proto
