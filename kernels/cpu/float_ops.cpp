#include "kernels/cpu/float_ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace potluck::kernels::cpu {
namespace {

/// Values per task: below this the work costs less than sharing it.
constexpr std::size_t kNormValues = 16384;
constexpr std::size_t kAngles = 256;
constexpr std::size_t kRopeValues = 16384;
constexpr std::size_t kCopyValues = 32768;
constexpr std::size_t kSwigluValues = 4096;
constexpr std::size_t kAddValues = 32768;

/// Calls work(begin, end) for pieces of [0, n) of about `per_task` items; every item once.
template <typename Work>
void split(ThreadPool& pool, std::size_t n, std::size_t per_task, Work work) {
    const std::size_t piece = std::max<std::size_t>(per_task, 1);
    auto task = [&](std::size_t i) { work(i * piece, std::min(n, (i + 1) * piece)); };
    pool.run((n + piece - 1) / piece, task);
}

Status bad_index(const char* op, const char* what) {
    return error(ErrorCode::kInternal, fmt::format("{}: {} out of range", op, what));
}

}  // namespace

Status require(bool ok, const char* op, const char* what) {
    if (ok) return {};
    return error(ErrorCode::kInternal, fmt::format("{}: {}", op, what));
}

Status check_cache(const KvCache& cache, const char* op) {
    POTLUCK_TRY(require(cache.k != nullptr && cache.v != nullptr, op, "no cache"));
    return require(cache.n_pages > 0 && cache.kv_heads > 0 && cache.head_dim > 0, op,
                   "the cache is empty");
}

Status rms_norm(ThreadPool& pool, const FloatKernels& kernels, const RmsNormArgs& args) {
    if (args.n_rows == 0) return {};
    POTLUCK_TRY(require(args.x && args.weight && args.out, "rms_norm", "null pointer"));
    POTLUCK_TRY(require(args.width > 0, "rms_norm", "width is 0"));
    split(pool, args.n_rows, kNormValues / args.width, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row)
            kernels.rms_norm(args.x + row * args.width, args.weight, args.width, args.epsilon,
                             args.out + row * args.width);
    });
    return {};
}

Status rope_angles(ThreadPool& pool, const FloatKernels& kernels, const RopeAnglesArgs& args) {
    if (args.n_rows == 0) return {};
    POTLUCK_TRY(
        require(args.positions && args.inv_freq && args.angles, "rope_angles", "null pointer"));
    POTLUCK_TRY(require(args.n_pairs > 0, "rope_angles", "no pairs"));
    split(pool, args.n_rows, kAngles / args.n_pairs, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row)
            kernels.rope_angles(args.positions[row], args.inv_freq, args.n_pairs, args.magnitude,
                                args.angles + row * args.n_pairs * 2);
    });
    return {};
}

Status rope(ThreadPool& pool, const FloatKernels& kernels, const RopeArgs& args) {
    if (args.n_rows == 0) return {};
    POTLUCK_TRY(require(args.x && args.angles, "rope", "null pointer"));
    POTLUCK_TRY(require(args.n_heads > 0 && args.n_pairs > 0, "rope", "no heads or pairs"));
    POTLUCK_TRY(require(2 * args.n_pairs <= args.head_dim, "rope", "more pairs than a head has"));
    const std::size_t width = args.n_heads * args.head_dim;
    split(pool, args.n_rows, kRopeValues / width, [&](std::size_t begin, std::size_t end) {
        RopeArgs row = args;
        for (std::size_t r = begin; r < end; ++r) {
            row.x = args.x + r * width;
            row.angles = args.angles + r * args.n_pairs * 2;
            kernels.rope(row);
        }
    });
    return {};
}

Status kv_store(ThreadPool& pool, const FloatKernels& kernels, const KvStoreArgs& args) {
    if (args.n_rows == 0) return {};
    const KvCache& cache = args.cache;
    POTLUCK_TRY(require(args.k && args.v && args.slots, "kv_store", "null pointer"));
    POTLUCK_TRY(check_cache(cache, "kv_store"));
    for (std::size_t row = 0; row < args.n_rows; ++row)
        if (args.slots[row] < 0 ||
            static_cast<std::size_t>(args.slots[row]) >= cache.n_pages * kPageTokens)
            return bad_index("kv_store", "slot");
    const std::size_t width = cache.kv_heads * cache.head_dim;
    split(pool, args.n_rows, kCopyValues / width, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row) {
            const auto slot = static_cast<std::size_t>(args.slots[row]);
            for (std::size_t head = 0; head < cache.kv_heads; ++head) {
                const std::size_t from = row * width + head * cache.head_dim;
                const std::size_t place =
                    (slot / kPageTokens * cache.kv_heads + head) * kPageTokens + slot % kPageTokens;
                kernels.to_half(args.k + from, cache.head_dim, cache.k + place * cache.head_dim);
                kernels.to_half(args.v + from, cache.head_dim, cache.v + place * cache.head_dim);
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
    const std::size_t page_values = cache.kv_heads * kPageTokens * cache.head_dim;
    for (std::size_t i = 0; i < 2 * args.n_copies; ++i)
        if (args.pages[i] < 0 || static_cast<std::size_t>(args.pages[i]) >= cache.n_pages)
            return bad_index("kv_copy", "page");
    // One after another: a page may be the target of one copy and the source of the next.
    for (std::size_t i = 0; i < args.n_copies; ++i) {
        const std::size_t from = static_cast<std::size_t>(args.pages[2 * i]) * page_values;
        const std::size_t to = static_cast<std::size_t>(args.pages[2 * i + 1]) * page_values;
        std::memmove(cache.k + to, cache.k + from, page_values * sizeof(std::uint16_t));
        std::memmove(cache.v + to, cache.v + from, page_values * sizeof(std::uint16_t));
    }
    return {};
}

Status swiglu(ThreadPool& pool, const FloatKernels& kernels, const SwigluArgs& args) {
    if (args.n == 0) return {};
    POTLUCK_TRY(require(args.gate && args.up && args.out, "swiglu", "null pointer"));
    split(pool, args.n, kSwigluValues, [&](std::size_t begin, std::size_t end) {
        kernels.swiglu(args.gate + begin, args.up + begin, end - begin, args.out + begin);
    });
    return {};
}

Status add(ThreadPool& pool, const FloatKernels& kernels, const AddArgs& args) {
    if (args.n == 0) return {};
    POTLUCK_TRY(require(args.a && args.b && args.out, "add", "null pointer"));
    split(pool, args.n, kAddValues, [&](std::size_t begin, std::size_t end) {
        kernels.add(args.a + begin, args.b + begin, end - begin, args.out + begin);
    });
    return {};
}

Status gather_rows(ThreadPool& pool, const FloatKernels&, const GatherRowsArgs& args) {
    if (args.n_rows == 0) return {};
    POTLUCK_TRY(require(args.x && args.indices && args.out, "gather_rows", "null pointer"));
    POTLUCK_TRY(require(args.width > 0, "gather_rows", "width is 0"));
    for (std::size_t row = 0; row < args.n_rows; ++row)
        if (args.indices[row] < 0) return bad_index("gather_rows", "index");
    split(pool, args.n_rows, kCopyValues / args.width, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row)
            std::memcpy(args.out + row * args.width,
                        args.x + static_cast<std::size_t>(args.indices[row]) * args.width,
                        args.width * sizeof(float));
    });
    return {};
}

}  // namespace potluck::kernels::cpu
