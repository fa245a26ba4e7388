#pragma once

// The float operations as ops: check the arguments, split the work over the pool, call the
// instruction set's kernels. All are synchronous and allocate nothing unless they fail. An error
// is kInternal: the engine's arguments are our own.

#include <algorithm>
#include <cstddef>

#include "base/result.h"
#include "kernels/api/ops.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/thread_pool.h"

namespace potluck::kernels::cpu {

Status rms_norm(ThreadPool& pool, const FloatKernels& kernels, const RmsNormArgs& args);
Status rope_angles(ThreadPool& pool, const FloatKernels& kernels, const RopeAnglesArgs& args);
Status rope(ThreadPool& pool, const FloatKernels& kernels, const RopeArgs& args);
Status swiglu(ThreadPool& pool, const FloatKernels& kernels, const SwigluArgs& args);
Status add(ThreadPool& pool, const FloatKernels& kernels, const AddArgs& args);
Status gather_rows(ThreadPool& pool, const FloatKernels& kernels, const GatherRowsArgs& args);

/// kv_cache.cpp
Status kv_store(ThreadPool& pool, const FloatKernels& kernels, const KvStoreArgs& args);
Status kv_copy(ThreadPool& pool, const FloatKernels& kernels, const KvCopyArgs& args);
/// attention.cpp
Status attention(ThreadPool& pool, const FloatKernels& kernels, const AttentionArgs& args);
std::size_t attention_scratch_bytes(std::size_t threads, const AttentionLimits& limits);

/// Calls work(begin, end) for pieces of [0, n) of about `per_task` items; every item once.
template <typename Work>
void split(ThreadPool& pool, std::size_t n, std::size_t per_task, Work work) {
    const std::size_t piece = std::max<std::size_t>(per_task, 1);
    auto task = [&](std::size_t i) { work(i * piece, std::min(n, (i + 1) * piece)); };
    pool.run((n + piece - 1) / piece, task);
}

/// kInternal "<op>: <what>" unless `ok`.
Status require(bool ok, const char* op, const char* what);
/// The sizes, types and pointers of a cache (kv_cache.cpp).
Status check_cache(const KvCache& cache, const char* op);

}  // namespace potluck::kernels::cpu
