// Keys and values into the paged cache, and pages within it.

#include <cstdint>
#include <cstring>

#include "kernels/cpu/float_ops.h"

namespace potluck::kernels::cpu {
namespace {

/// Values per task: below this the work costs less than sharing it.
constexpr std::size_t kCopyValues = 32768;
constexpr std::size_t kQuantizeValues = 2048;

/// One side of a cache: keys or values.
struct Side {
    const float* x;
    std::byte* pages;
    KvType type;
    std::size_t row_bytes;

    Side(const float* from, std::byte* to, KvType t, std::size_t head_dim)
        : x(from), pages(to), type(t), row_bytes(kv_row_bytes(t, head_dim)) {}

    /// Row `row` of the batch to `place`, a position of a kv head.
    void store(const FloatKernels& kernels, std::size_t from, std::size_t place,
               std::size_t head_dim) const {
        std::byte* const out = pages + place * row_bytes;
        if (type == KvType::kF16) {
            kernels.to_half(x + from, head_dim, reinterpret_cast<std::uint16_t*>(out));
        } else {
            write_kv_row(*kernels.kv_rows, type, x + from, head_dim, out);
        }
    }
};

}  // namespace

Status check_cache(const KvCache& cache, const char* op) {
    POTLUCK_TRY(require(cache.k != nullptr && cache.v != nullptr, op, "no cache"));
    POTLUCK_TRY(require(cache.n_pages > 0 && cache.kv_heads > 0 && cache.head_dim > 0, op,
                        "the cache is empty"));
    return require(
        check_kv_type(cache.k_type, cache.head_dim) && check_kv_type(cache.v_type, cache.head_dim),
        op, "heads do not fit the cache's types");
}

Status kv_store(ThreadPool& pool, const FloatKernels& kernels, const KvStoreArgs& args) {
    if (args.n_rows == 0) return {};
    const KvCache& cache = args.cache;
    POTLUCK_TRY(require(args.k && args.v && args.slots, "kv_store", "null pointer"));
    POTLUCK_TRY(check_cache(cache, "kv_store"));
    for (std::size_t row = 0; row < args.n_rows; ++row)
        POTLUCK_TRY(require(args.slots[row] >= 0 && static_cast<std::size_t>(args.slots[row]) <
                                                        cache.n_pages * kPageTokens,
                            "kv_store", "slot out of range"));
    const Side k(args.k, cache.k, cache.k_type, cache.head_dim);
    const Side v(args.v, cache.v, cache.v_type, cache.head_dim);
    const std::size_t width = cache.kv_heads * cache.head_dim;
    const bool plain = cache.k_type == KvType::kF16 && cache.v_type == KvType::kF16;
    split(pool, args.n_rows, (plain ? kCopyValues : kQuantizeValues) / width,
          [&](std::size_t begin, std::size_t end) {
              for (std::size_t row = begin; row < end; ++row) {
                  const auto slot = static_cast<std::size_t>(args.slots[row]);
                  for (std::size_t head = 0; head < cache.kv_heads; ++head) {
                      const std::size_t from = row * width + head * cache.head_dim;
                      const std::size_t place =
                          (slot / kPageTokens * cache.kv_heads + head) * kPageTokens +
                          slot % kPageTokens;
                      k.store(kernels, from, place, cache.head_dim);
                      v.store(kernels, from, place, cache.head_dim);
                  }
              }
          });
    return {};
}

Status kv_copy(ThreadPool&, const FloatKernels&, const KvCopyArgs& args) {
    if (args.n_copies == 0) return {};
    const KvCache& cache = args.cache;
    POTLUCK_TRY(require(args.pages != nullptr, "kv_copy", "null pointer"));
    POTLUCK_TRY(check_cache(cache, "kv_copy"));
    for (std::size_t i = 0; i < 2 * args.n_copies; ++i)
        POTLUCK_TRY(
            require(args.pages[i] >= 0 && static_cast<std::size_t>(args.pages[i]) < cache.n_pages,
                    "kv_copy", "page out of range"));
    const std::size_t rows = cache.kv_heads * kPageTokens;
    const std::size_t k_bytes = rows * kv_row_bytes(cache.k_type, cache.head_dim);
    const std::size_t v_bytes = rows * kv_row_bytes(cache.v_type, cache.head_dim);
    // One after another: a page may be the target of one copy and the source of the next.
    for (std::size_t i = 0; i < args.n_copies; ++i) {
        const auto from = static_cast<std::size_t>(args.pages[2 * i]);
        const auto to = static_cast<std::size_t>(args.pages[2 * i + 1]);
        std::memmove(cache.k + to * k_bytes, cache.k + from * k_bytes, k_bytes);
        std::memmove(cache.v + to * v_bytes, cache.v + from * v_bytes, v_bytes);
    }
    return {};
}

}  // namespace potluck::kernels::cpu
