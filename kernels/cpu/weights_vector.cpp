// The weights of the vector instruction sets: packing, and the division of a matrix product into
// tasks that the pool's threads take. The inner kernels are in the instruction sets' own files.

#include <algorithm>
#include <cstring>

#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/tile_pack.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu {
namespace {

/// Weights of one task: they are used for all its batch rows while they are in the second-level
/// cache.
constexpr std::size_t kTaskBytes = std::size_t{192} << 10;
/// Below this a task is too short to be worth handing over.
constexpr std::size_t kMinTaskBytes = std::size_t{16} << 10;
/// Tasks that each thread should find, so that no thread waits long for the last one.
constexpr std::size_t kTasksPerThread = 4;
/// Batch rows are only divided in multiples of this, the widest kernel.
constexpr std::size_t kRowChunk = 64;
static_assert(kRowChunk % kMaxTileColumns == 0);

constexpr std::size_t divide_up(std::size_t a, std::size_t b) {
    return (a + b - 1) / b;
}

/// How `units` equal pieces of weights (tiles) times `n_rows` batch rows become tasks.
struct Split {
    std::size_t units_per_task;
    std::size_t rows_per_task;
    std::size_t unit_tasks;
    std::size_t row_tasks;
};

Split split_work(std::size_t units, std::size_t unit_bytes, std::size_t n_rows,
                 std::size_t threads) {
    const std::size_t wanted = threads == 1 ? 1 : threads * kTasksPerThread;
    const std::size_t most = std::max<std::size_t>(1, kTaskBytes / unit_bytes);
    // With many batch rows even one tile is enough work.
    const std::size_t least =
        std::max<std::size_t>(1, kMinTaskBytes / (unit_bytes * std::min<std::size_t>(n_rows, 16)));
    Split s{};
    s.units_per_task = std::clamp(units / wanted, std::min(least, most), most);
    s.unit_tasks = divide_up(units, s.units_per_task);
    s.rows_per_task = n_rows;
    if (s.unit_tasks < wanted && n_rows > kRowChunk) {
        const std::size_t row_tasks =
            std::min(divide_up(wanted, s.unit_tasks), divide_up(n_rows, kRowChunk));
        s.rows_per_task = divide_up(divide_up(n_rows, row_tasks), kRowChunk) * kRowChunk;
    }
    s.row_tasks = divide_up(n_rows, s.rows_per_task);
    return s;
}

/// Calls `work(first unit, end unit, first row, end row)` for every task.
template <typename Work>
void run_split(ThreadPool& pool, std::size_t units, std::size_t unit_bytes, std::size_t n_rows,
               Work& work) {
    if (units == 0 || n_rows == 0) return;
    const Split s = split_work(units, unit_bytes, n_rows, pool.threads());
    auto task = [&](std::size_t i) {
        const std::size_t unit = i / s.row_tasks * s.units_per_task;
        const std::size_t row = i % s.row_tasks * s.rows_per_task;
        work(unit, std::min(units, unit + s.units_per_task), row,
             std::min(n_rows, row + s.rows_per_task));
    };
    pool.run(s.unit_tasks * s.row_tasks, task);
}

/// The widest compiled kernel for at most `n` batch rows. All but the last of a batch are multiples
/// of kActivationGroup wide.
template <typename Kernel, std::size_t kSize>
std::size_t widest(const Kernel (&by_columns)[kSize], std::size_t n) {
    std::size_t width = std::min(n, kSize - 1);
    while (by_columns[width] == nullptr)
        --width;
    return width;
}

/// A tile of `weight` that lies at `quants` and `scales`, by the batch rows from `row` on.
TileCall tile_call(const CpuWeight& weight, const MatmulArgs& args, const std::byte* quants,
                   const std::byte* scales, std::size_t tile, std::size_t row) {
    const std::size_t blocks = weight.columns() / 32;
    const std::size_t output = tile * kTileRows;
    const auto* x = reinterpret_cast<const ActivationBlock*>(args.activations);
    return {.quants = quants,
            .scales = scales,
            .x = x + activation_index(row, blocks),
            .blocks = blocks,
            .out = args.out + row * weight.rows() + output,
            .out_stride = weight.rows(),
            .bias = args.bias == nullptr ? nullptr : args.bias + output,
            .rows = static_cast<unsigned>(std::min(kTileRows, weight.rows() - output))};
}

void matmul_tiles(ThreadPool& pool, const CpuWeight& weight, const MatmulArgs& args,
                  const TileKernels& kernels) {
    const TileLayout layout(weight.type(), weight.columns(), weight.rows());
    const auto call = [&](std::size_t tile, std::size_t row) {
        return tile_call(weight, args, weight.data() + tile * layout.tile_quants,
                         weight.data() + layout.scales_at + tile * layout.tile_scales, tile, row);
    };
    auto work = [&](std::size_t tile, std::size_t end_tile, std::size_t row, std::size_t end_row) {
        while (row < end_row) {
            const std::size_t width = widest(kernels.by_columns, end_row - row);
            const TileKernel pair = kernels.pairs[width];
            // The two tiles of a pair lie half a task apart: two long streams for the memory.
            const std::size_t half = pair == nullptr ? 0 : (end_tile - tile) / 2;
            for (std::size_t t = tile; t < tile + half; ++t) {
                const TileCall calls[2] = {call(t, row), call(t + half, row)};
                pair(calls);
            }
            for (std::size_t t = tile + 2 * half; t < end_tile; ++t) {
                const TileCall one = call(t, row);
                kernels.by_columns[width](&one);
            }
            row += width;
        }
    };
    run_split(pool, layout.tiles, layout.tile_quants + layout.tile_scales, args.n_rows, work);
}

/// The same for weights as the file has them: each tile is packed when its turn comes and used for
/// all batch rows of the task. The bits are those of packed weights; the packing bounds the speed.
void matmul_kept(ThreadPool& pool, const CpuWeight& weight, const MatmulArgs& args,
                 const TileKernels& kernels) {
    const TileLayout layout(weight.type(), weight.columns(), kTileRows);
    const std::size_t stride = weight.row_stride();
    const auto one_tile = [&](std::byte* packed, std::size_t tile, std::size_t row,
                              std::size_t end_row) {
        const std::size_t first = tile * kTileRows;
        pack_tile(weight.type(), layout, weight.data() + first * stride, stride,
                  std::min(kTileRows, weight.rows() - first), 0, packed);
        while (row < end_row) {
            const std::size_t width = widest(kernels.by_columns, end_row - row);
            const TileCall call =
                tile_call(weight, args, packed, packed + layout.scales_at, tile, row);
            kernels.by_columns[width](&call);
            row += width;
        }
    };
    auto work = [&](std::size_t tile, std::size_t end_tile, std::size_t row, std::size_t end_row) {
        const TileScratch::Lease scratch(*weight.scratch());
        for (; tile < end_tile; ++tile)
            one_tile(scratch.data(), tile, row, end_row);
    };
    run_split(pool, divide_up(weight.rows(), kTileRows), layout.total, args.n_rows, work);
}

void matmul_floats(ThreadPool& pool, const CpuWeight& weight, const MatmulArgs& args,
                   const FloatKernels& kernels) {
    const auto* x = reinterpret_cast<const float*>(args.activations);
    const std::size_t units = divide_up(weight.rows(), kFloatTileRows);
    const auto one_unit = [&](std::size_t unit, std::size_t row, std::size_t width) {
        const std::size_t output = unit * kFloatTileRows;
        const FloatCall call = {
            .weights = weight.data() + output * weight.row_stride(),
            .weight_stride = weight.row_stride(),
            .x = x + row * weight.columns(),
            .columns = weight.columns(),
            .out = args.out + row * weight.rows() + output,
            .out_stride = weight.rows(),
            .bias = args.bias == nullptr ? nullptr : args.bias + output,
            .rows = static_cast<unsigned>(std::min(kFloatTileRows, weight.rows() - output))};
        kernels.by_columns[width](call);
    };
    auto work = [&](std::size_t unit, std::size_t end_unit, std::size_t row, std::size_t end_row) {
        while (row < end_row) {
            const std::size_t width = widest(kernels.by_columns, end_row - row);
            for (std::size_t u = unit; u < end_unit; ++u)
                one_unit(u, row, width);
            row += width;
        }
    };
    run_split(pool, units, kFloatTileRows * weight.row_stride(), args.n_rows, work);
}

/// One row of float weights and the zeros behind it.
void pack_float_row(const std::byte* source, std::size_t row, std::byte* out, std::size_t stride) {
    std::memcpy(out, source, row);
    std::memset(out + row, 0, stride - row);
}

}  // namespace

std::size_t packed_bytes_vector(TensorType type, std::size_t columns, std::size_t rows) {
    if (is_float(type)) return rows * float_row_stride(type, columns);
    return TileLayout(type, columns, rows).total;
}

Result<std::unique_ptr<PackedWeight>> pack_vector(ThreadPool& pool, WeightArena& arena,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range) {
    POTLUCK_TRY(check_pack(bytes, type, columns, range));
    const std::size_t rows = range.end - range.begin;
    const std::size_t row = row_bytes(type, columns);
    const std::byte* source = bytes.data() + range.begin * row;
    POTLUCK_ASSIGN(PackedMemory memory, arena.allocate(packed_bytes_vector(type, columns, rows)));
    if (is_float(type)) {
        const std::size_t stride = float_row_stride(type, columns);
        auto work = [&](std::size_t begin, std::size_t end, std::size_t, std::size_t) {
            for (std::size_t r = begin; r < end; ++r)
                pack_float_row(source + r * row, row, memory.data() + r * stride, stride);
        };
        run_split(pool, rows, stride, 1, work);
        return std::make_unique<CpuWeight>(type, rows, columns, WeightLayout::kFloatRows,
                                           std::move(memory));
    }
    const TileLayout layout(type, columns, rows);
    auto work = [&](std::size_t begin, std::size_t end, std::size_t, std::size_t) {
        for (std::size_t tile = begin; tile < end; ++tile) {
            const std::size_t first = tile * kTileRows;
            pack_tile(type, layout, source + first * row, row, std::min(kTileRows, rows - first),
                      tile, memory.data());
        }
    };
    run_split(pool, layout.tiles, layout.tile_quants + layout.tile_scales, 1, work);
    return std::make_unique<CpuWeight>(type, rows, columns, WeightLayout::kTiles,
                                       std::move(memory));
}

Result<std::unique_ptr<PackedWeight>> keep_vector(ThreadPool& pool, WeightArena& arena,
                                                  const std::shared_ptr<TileScratch>& scratch,
                                                  std::span<const std::byte> bytes, TensorType type,
                                                  std::size_t columns, RowRange range) {
    POTLUCK_TRY(check_pack(bytes, type, columns, range));
    // Float rows are read as they are, but for the zeros that an odd width needs behind it.
    if (is_float(type) && columns % kFloatPadding != 0)
        return pack_vector(pool, arena, bytes, type, columns, range);
    const std::size_t rows = range.end - range.begin;
    const std::size_t row = row_bytes(type, columns);
    const auto kept = bytes.subspan(range.begin * row, rows * row);
    if (is_float(type))
        return std::make_unique<CpuWeight>(type, rows, columns, WeightLayout::kFloatRows, kept,
                                           nullptr);
    scratch->reserve(TileLayout(type, columns, kTileRows).total);
    return std::make_unique<CpuWeight>(type, rows, columns, WeightLayout::kBlocks, kept, scratch);
}

void matmul_vector(ThreadPool& pool, const MatmulArgs& args, const VectorKernels& kernels) {
    const CpuWeight& weight = cpu_weight(args.weight);
    if (is_float(weight.type())) {
        POTLUCK_CHECK(weight.layout() == WeightLayout::kFloatRows);
        matmul_floats(pool, weight, args, kernels.floats(weight.type()));
    } else if (weight.layout() == WeightLayout::kBlocks) {
        POTLUCK_CHECK(weight.scratch() != nullptr);
        matmul_kept(pool, weight, args, kernels.tile(weight.type()));
    } else {
        matmul_tiles(pool, weight, args, kernels.tile(weight.type()));
    }
}

}  // namespace potluck::kernels::cpu
