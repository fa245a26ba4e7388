// Attention over the paged cache: who computes what. Two schedules give the same bits, since only
// the combination of blocks is ordered:
//  - whole: a task takes some rows and one kv head through all their blocks;
//  - split: for few rows with a long past, where whole would leave threads idle, block results go
//    to scratch, in waves of as many blocks as scratch holds, and are combined in order.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>

#include "base/aligned_buffer.h"
#include "kernels/cpu/float_ops.h"

namespace potluck::kernels::cpu {
namespace {

/// Split: at most this many (row, head) pairs and blocks of a wave have room in scratch.
constexpr std::size_t kSplitHeads = 256;
constexpr std::size_t kSplitBlocks = 64;
/// Whole is even enough from this many tasks per thread on, and fast enough below these blocks.
constexpr std::size_t kTasksPerThread = 4;
constexpr std::size_t kFewBlocks = 4;
/// Values of queries, times their blocks, that the caller has done before another thread has seen
/// that there is work.
constexpr std::size_t kAloneValues = 2048;
/// Values of queries that a task turns.
constexpr std::size_t kRotateValues = 16384;

/// The shape of the work: tasks are (group of rows, kv head, group of its query heads).
struct Shape {
    std::size_t heads_per_kv;
    std::size_t task_heads;   ///< query heads of a task
    std::size_t task_rows;    ///< rows of a task
    std::size_t head_groups;  ///< tasks that share a kv head
    std::size_t row_groups;

    Shape(const AttentionArgs& args, std::size_t rows_at_most)
        : heads_per_kv(args.heads / args.cache.kv_heads),
          task_heads(std::min(heads_per_kv, kTileQueries)),
          task_rows(std::min(rows_at_most, kTileQueries / task_heads)),
          head_groups((heads_per_kv + task_heads - 1) / task_heads),
          row_groups((args.n_rows + task_rows - 1) / task_rows) {}
    std::size_t tasks(const AttentionArgs& args) const {
        return row_groups * args.cache.kv_heads * head_groups;
    }
};

/// What one task works on. Tasks of a kv head follow one another, so that its keys and values,
/// which all rows of a sequence read, are still in the second-level cache.
struct Work {
    std::size_t first_row;
    std::size_t last_row;  ///< one past it
    std::size_t kv_head;
    std::size_t first_head;
    std::size_t n_heads;

    Work(const AttentionArgs& args, const Shape& shape, std::size_t task) {
        const std::size_t head_group = task / shape.row_groups;
        first_row = task % shape.row_groups * shape.task_rows;
        last_row = std::min(args.n_rows, first_row + shape.task_rows);
        kv_head = head_group / shape.head_groups;
        const std::size_t first = head_group % shape.head_groups * shape.task_heads;
        first_head = kv_head * shape.heads_per_kv + first;
        n_heads = std::min(shape.task_heads, shape.heads_per_kv - first);
    }
};

std::size_t block_count(const AttentionArgs& args, std::size_t row) {
    return static_cast<std::size_t>(args.positions[row]) / kPageTokens + 1;
}

/// Keys of block b that a row sees.
std::uint32_t keys_in_block(const AttentionArgs& args, std::size_t row, std::size_t b) {
    const std::size_t keys = static_cast<std::size_t>(args.positions[row]) + 1;
    if (keys <= b * kPageTokens) return 0;
    return static_cast<std::uint32_t>(std::min(keys - b * kPageTokens, kPageTokens));
}

/// Where a page's keys and values of a kv head begin; nothing if the page table is wrong.
struct Block {
    const std::byte* k = nullptr;
    const std::byte* v = nullptr;

    Block(const AttentionArgs& args, std::size_t row, std::size_t b, std::size_t kv_head) {
        const KvCache& cache = args.cache;
        const auto table = static_cast<std::size_t>(args.row_tables[row]) * args.table_stride;
        const std::int32_t page = args.page_tables[table + b];
        if (page < 0 || static_cast<std::size_t>(page) >= cache.n_pages) return;
        const std::size_t place =
            (static_cast<std::size_t>(page) * cache.kv_heads + kv_head) * kPageTokens;
        k = cache.k + place * kv_row_bytes(cache.k_type, cache.head_dim);
        v = cache.v + place * kv_row_bytes(cache.v_type, cache.head_dim);
    }
};

/// Takes the tile through a block.
void attend_block(const FloatKernels& kernels, const AttentionArgs& args, AttentionTile& tile,
                  const Block& block) {
    const KvCache& cache = args.cache;
    kernels.attention_scores(tile, cache.k_type, block.k, cache.head_dim, args.scale);
    kernels.attention_values(tile, cache.v_type, block.v, cache.head_dim);
}

/// The tile's outputs, turned back if the values are rotated.
void finish(const FloatKernels& kernels, const AttentionArgs& args, AttentionTile& tile) {
    const KvCache& cache = args.cache;
    kernels.attention_finish(tile, cache.head_dim);
    const std::size_t rotation = kv_rotation(cache.v_type, cache.head_dim);
    if (rotation == 0) return;
    for (std::size_t i = 0; i < tile.n_queries; ++i)
        rotate_head(*kernels.kv_rows, tile.o[i], cache.head_dim, rotation, true, tile.o[i]);
}

/// Sets up the queries of rows [first, last), which share a page table; `o` says where each one's
/// result is.
template <typename OutputOf>
void begin_tile(AttentionTile& tile, const AttentionArgs& args, const Work& work, std::size_t first,
                std::size_t last, OutputOf output_of) {
    tile.n_queries = 0;
    tile.begun = false;
    for (std::size_t row = first; row < last; ++row)
        for (std::size_t head = work.first_head; head < work.first_head + work.n_heads; ++head) {
            tile.q[tile.n_queries] = args.q + (row * args.heads + head) * args.cache.head_dim;
            tile.o[tile.n_queries] = output_of(row, head);
            ++tile.n_queries;
        }
}

void set_keys(AttentionTile& tile, const AttentionArgs& args, const Work& work, std::size_t first,
              std::size_t b) {
    for (std::size_t i = 0; i < tile.n_queries; ++i)
        tile.n_keys[i] = keys_in_block(args, first + i / work.n_heads, b);
    for (std::size_t i = tile.n_queries; i < kTileQueries; ++i)
        tile.n_keys[i] = 0;
}

/// The end of the run of rows from `first` on that share a page table.
std::size_t run_end(const AttentionArgs& args, std::size_t first, std::size_t last) {
    std::size_t end = first + 1;
    while (end < last && args.row_tables[end] == args.row_tables[first])
        ++end;
    return end;
}

std::size_t most_blocks(const AttentionArgs& args, std::size_t first, std::size_t last) {
    std::size_t most = 0;
    for (std::size_t row = first; row < last; ++row)
        most = std::max(most, block_count(args, row));
    return most;
}

/// Whole schedule, one task. False if a page table is wrong.
bool attend_whole(const FloatKernels& kernels, const AttentionArgs& args, const Work& work) {
    AttentionTile tile;
    const std::size_t head_dim = args.cache.head_dim;
    for (std::size_t first = work.first_row, last = 0; first < work.last_row; first = last) {
        last = run_end(args, first, work.last_row);
        begin_tile(tile, args, work, first, last, [&](std::size_t row, std::size_t head) {
            return args.out + (row * args.heads + head) * head_dim;
        });
        const std::size_t blocks = most_blocks(args, first, last);
        for (std::size_t b = 0; b < blocks; ++b) {
            set_keys(tile, args, work, first, b);
            const Block block(args, first, b, work.kv_head);
            if (block.k == nullptr) return false;
            attend_block(kernels, args, tile, block);
        }
        finish(kernels, args, tile);
    }
    return true;
}

/// Split schedule: scratch holds M, L of each (row, head), then m, l, then o of each (row, head,
/// block of the wave).
struct Split {
    const AttentionArgs& args;
    std::size_t wave_blocks;  ///< blocks of a wave
    float* max;
    float* sum;
    float* block_max;
    float* block_sum;
    float* block_o;

    Split(const AttentionArgs& a, std::size_t blocks) : args(a), wave_blocks(blocks) {
        const std::size_t units = a.n_rows * a.heads;
        max = reinterpret_cast<float*>(a.scratch);
        sum = max + units;
        block_max = sum + units;
        block_sum = block_max + units * blocks;
        block_o = block_sum + units * blocks;
    }
    std::size_t unit(std::size_t row, std::size_t head) const { return row * args.heads + head; }
    std::size_t slot(std::size_t row, std::size_t head, std::size_t b) const {
        return unit(row, head) * wave_blocks + b % wave_blocks;
    }

    /// Block results of blocks [begin, end) of one task's queries.
    bool compute(const FloatKernels& kernels, const Work& work, std::size_t begin,
                 std::size_t end) const {
        AttentionTile tile;
        const std::size_t head_dim = args.cache.head_dim;
        for (std::size_t first = work.first_row, last = 0; first < work.last_row; first = last) {
            last = run_end(args, first, work.last_row);
            const std::size_t blocks = most_blocks(args, first, last);
            for (std::size_t b = begin; b < std::min(end, blocks); ++b) {
                begin_tile(tile, args, work, first, last, [&](std::size_t row, std::size_t head) {
                    return block_o + slot(row, head, b) * head_dim;
                });
                set_keys(tile, args, work, first, b);
                const Block block(args, first, b, work.kv_head);
                if (block.k == nullptr) return false;
                attend_block(kernels, args, tile, block);
                for (std::size_t i = 0; i < tile.n_queries; ++i) {
                    const std::size_t s =
                        slot(first + i / work.n_heads, work.first_head + i % work.n_heads, b);
                    block_max[s] = tile.max[i];
                    block_sum[s] = tile.sum[i];
                }
            }
        }
        return true;
    }

    /// Combines a wave's blocks [begin, end) of one task's queries, a row at a time; the last wave
    /// of a row ends with its output.
    void combine(const FloatKernels& kernels, const Work& work, std::size_t begin,
                 std::size_t end) const {
        AttentionTile tile;
        const std::size_t head_dim = args.cache.head_dim;
        for (std::size_t row = work.first_row; row < work.last_row; ++row) {
            const std::size_t blocks = block_count(args, row);
            if (blocks <= begin) continue;
            begin_tile(tile, args, work, row, row + 1, [&](std::size_t r, std::size_t head) {
                return args.out + unit(r, head) * head_dim;
            });
            const std::size_t first_unit = unit(row, work.first_head);
            tile.begun = begin > 0;
            if (tile.begun) {
                std::memcpy(tile.max, max + first_unit, work.n_heads * sizeof(float));
                std::memcpy(tile.sum, sum + first_unit, work.n_heads * sizeof(float));
            }
            for (std::size_t b = begin; b < std::min(end, blocks); ++b) {
                const float* o[kTileQueries] = {};
                set_keys(tile, args, work, row, b);
                for (std::size_t i = 0; i < work.n_heads; ++i) {
                    const std::size_t s = slot(row, work.first_head + i, b);
                    tile.block_max[i] = block_max[s];
                    tile.block_sum[i] = block_sum[s];
                    o[i] = block_o + s * head_dim;
                }
                kernels.attention_combine(tile, o, head_dim);
            }
            std::memcpy(max + first_unit, tile.max, work.n_heads * sizeof(float));
            std::memcpy(sum + first_unit, tile.sum, work.n_heads * sizeof(float));
            if (blocks <= end) finish(kernels, args, tile);
        }
    }
};

/// Blocks of a wave that fit into the caller's scratch.
std::size_t fitting_blocks(const AttentionArgs& args) {
    const std::size_t units = args.n_rows * args.heads;
    const std::size_t floats = args.scratch_bytes / sizeof(float);
    if (args.scratch == nullptr || units > std::max(kSplitHeads, args.heads) || floats <= 2 * units)
        return 0;
    return (floats - 2 * units) / (units * (args.cache.head_dim + 2));
}

bool attend_split(ThreadPool& pool, const FloatKernels& kernels, const AttentionArgs& args,
                  const Shape& shape, std::size_t wave_blocks, std::size_t blocks) {
    const Split split(args, wave_blocks);
    const std::size_t tasks = shape.tasks(args);
    const std::size_t wanted = (pool.threads() * kTasksPerThread + tasks - 1) / tasks;
    std::atomic<bool> ok{true};
    for (std::size_t begin = 0; begin < blocks && ok; begin += wave_blocks) {
        const std::size_t end = std::min(blocks, begin + wave_blocks);
        const std::size_t piece = (end - begin + wanted - 1) / wanted;
        const std::size_t pieces = (end - begin + piece - 1) / piece;
        auto compute = [&](std::size_t i) {
            const std::size_t from = begin + i % pieces * piece;
            if (!split.compute(kernels, Work(args, shape, i / pieces), from,
                               std::min(end, from + piece)))
                ok.store(false, std::memory_order_relaxed);
        };
        pool.run(tasks * pieces, compute);
        auto combine = [&](std::size_t i) {
            split.combine(kernels, Work(args, shape, i), begin, end);
        };
        if (ok) pool.run(tasks, combine);
    }
    return ok;
}

Status check(const AttentionArgs& args) {
    const char* const op = "attention";
    POTLUCK_TRY(require(args.q && args.positions && args.row_tables && args.page_tables && args.out,
                        op, "null pointer"));
    POTLUCK_TRY(check_cache(args.cache, op));
    POTLUCK_TRY(require(args.heads > 0 && args.heads % args.cache.kv_heads == 0, op,
                        "heads are no multiple of kv heads"));
    for (std::size_t row = 0; row < args.n_rows; ++row) {
        POTLUCK_TRY(require(args.positions[row] >= 0, op, "position below 0"));
        POTLUCK_TRY(require(args.row_tables[row] >= 0, op, "page table below 0"));
        POTLUCK_TRY(
            require(block_count(args, row) <= args.table_stride, op, "position beyond its table"));
    }
    return {};
}

}  // namespace

std::size_t attention_scratch_bytes(std::size_t threads, const AttentionLimits& limits) {
    const bool rotated = kv_rotation(limits.k_type, limits.head_dim) != 0;
    const std::size_t queries = rotated ? limits.max_rows * limits.heads * limits.head_dim : 0;
    const std::size_t units =
        std::min(limits.max_rows * limits.heads, std::max(kSplitHeads, limits.heads));
    const std::size_t blocks =
        std::min((limits.max_context + kPageTokens - 1) / kPageTokens, kSplitBlocks);
    // One thread never splits.
    const std::size_t parts = threads <= 1 ? 0 : units * (2 + blocks * (limits.head_dim + 2));
    return std::max((queries + parts) * sizeof(float), kBufferAlignment);
}

namespace {

/// Queries turned as the keys are, at the start of scratch, which then begins after them.
Status rotate_queries(ThreadPool& pool, const FloatKernels& kernels, AttentionArgs& args) {
    const std::size_t head_dim = args.cache.head_dim;
    const std::size_t rotation = kv_rotation(args.cache.k_type, head_dim);
    if (rotation == 0) return {};
    const std::size_t heads = args.n_rows * args.heads;
    const std::size_t bytes = heads * head_dim * sizeof(float);
    POTLUCK_TRY(require(args.scratch != nullptr && args.scratch_bytes >= bytes, "attention",
                        "no scratch for the queries"));
    const float* const from = args.q;
    auto* const to = reinterpret_cast<float*>(args.scratch);
    split(pool, heads, kRotateValues / head_dim, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
            rotate_head(*kernels.kv_rows, from + i * head_dim, head_dim, rotation, false,
                        to + i * head_dim);
    });
    args.q = to;
    args.scratch += bytes;
    args.scratch_bytes -= bytes;
    return {};
}

}  // namespace

Status attention(ThreadPool& pool, const FloatKernels& kernels, const AttentionArgs& given) {
    if (given.n_rows == 0) return {};
    POTLUCK_TRY(check(given));
    AttentionArgs args = given;
    POTLUCK_TRY(rotate_queries(pool, kernels, args));
    const std::size_t blocks = most_blocks(args, 0, args.n_rows);
    // Rows share a task only while enough tasks remain for all threads.
    const std::size_t rows_at_most = std::max<std::size_t>(
        1, args.n_rows * args.cache.kv_heads / (pool.threads() * kTasksPerThread));
    const Shape shape(args, pool.threads() == 1 ? args.n_rows : rows_at_most);
    const std::size_t tasks = shape.tasks(args);
    const std::size_t wave_blocks = std::min(fitting_blocks(args), blocks);
    const bool in_parts = pool.threads() > 1 && tasks < pool.threads() * kTasksPerThread &&
                          blocks > kFewBlocks && wave_blocks > kFewBlocks;
    if (in_parts)
        return require(attend_split(pool, kernels, args, shape, wave_blocks, blocks), "attention",
                       "page out of range");
    std::atomic<bool> ok{true};
    auto task = [&](std::size_t i) {
        // Later rows have more blocks: of a head they go first, so that the last tasks are short.
        if (!attend_whole(kernels, args, Work(args, shape, tasks - 1 - i)))
            ok.store(false, std::memory_order_relaxed);
    };
    if (args.n_rows * args.heads * args.cache.head_dim * blocks < kAloneValues) {
        for (std::size_t i = 0; i < tasks; ++i)
            task(i);
    } else {
        pool.run(tasks, task);
    }
    return require(ok, "attention", "page out of range");
}

}  // namespace potluck::kernels::cpu
