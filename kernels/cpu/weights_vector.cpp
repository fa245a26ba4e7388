// The weights of the vector instruction sets: packing, and the division of a matrix product into
// tasks that the pool's threads take. The inner kernels are in the instruction sets' own files.

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/tile_pack.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu {
namespace {

/// Weights of one task: with many batch rows they are used again and again while they are in the
/// second-level cache, else a longer stream is faster.
constexpr std::size_t kTaskBytes = std::size_t{192} << 10;
constexpr std::size_t kStreamBytes = std::size_t{1} << 20;
/// Below this a task is too short to be worth handing over.
constexpr std::size_t kMinTaskBytes = std::size_t{16} << 10;
/// Less than this, read once for every few batch rows, the caller does before another thread has
/// seen that there is work.
constexpr std::size_t kAloneBytes = std::size_t{256} << 10;
constexpr std::size_t kRowsPerRead = 4;
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

/// `wanted` is the number of tasks that would share the work evenly.
Split split_work(std::size_t units, std::size_t unit_bytes, std::size_t n_rows,
                 std::size_t wanted) {
    const std::size_t task_bytes = n_rows > kMaxTileColumns ? kTaskBytes : kStreamBytes;
    const std::size_t most = std::max<std::size_t>(1, task_bytes / unit_bytes);
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

std::size_t wanted_tasks(const ThreadPool& pool) {
    return pool.threads() == 1 ? 1 : pool.threads() * kTasksPerThread;
}

/// What one task does.
struct TaskRange {
    std::size_t unit, end_unit;
    std::size_t row, end_row;
};

TaskRange task_range(const Split& s, std::size_t units, std::size_t n_rows, std::size_t task) {
    const std::size_t unit = task / s.row_tasks * s.units_per_task;
    const std::size_t row = task % s.row_tasks * s.rows_per_task;
    return {unit, std::min(units, unit + s.units_per_task), row,
            std::min(n_rows, row + s.rows_per_task)};
}

/// Calls `work(first unit, end unit)` for every task of a pass over the weights.
template <typename Work>
void run_units(ThreadPool& pool, std::size_t units, std::size_t unit_bytes, Work work) {
    if (units == 0) return;
    const Split s = split_work(units, unit_bytes, 1, wanted_tasks(pool));
    auto task = [&](std::size_t i) {
        const TaskRange range = task_range(s, units, 1, i);
        work(range.unit, range.end_unit);
    };
    pool.run(s.unit_tasks, task);
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

void multiply_tiles(const CpuWeight& weight, const MatmulArgs& args, const TileKernels& kernels,
                    TaskRange range) {
    const TileLayout layout(weight.type(), weight.columns(), weight.rows());
    const auto call = [&](std::size_t tile) {
        return tile_call(weight, args, weight.data() + tile * layout.tile_quants,
                         weight.data() + layout.scales_at + tile * layout.tile_scales, tile,
                         range.row);
    };
    while (range.row < range.end_row) {
        const std::size_t width = widest(kernels.by_columns, range.end_row - range.row);
        const TileKernel pair = kernels.pairs[width];
        // The two tiles of a pair lie half a task apart: two long streams for the memory.
        const std::size_t half = pair == nullptr ? 0 : (range.end_unit - range.unit) / 2;
        for (std::size_t t = range.unit; t < range.unit + half; ++t) {
            const TileCall calls[2] = {call(t), call(t + half)};
            pair(calls);
        }
        for (std::size_t t = range.unit + 2 * half; t < range.end_unit; ++t) {
            const TileCall one = call(t);
            kernels.by_columns[width](&one);
        }
        range.row += width;
    }
}

/// The same for weights as the file has them: each tile is packed when its turn comes and used for
/// all batch rows of the task. The bits are those of packed weights; the packing bounds the speed.
void multiply_kept(const CpuWeight& weight, const MatmulArgs& args, const TileKernels& kernels,
                   const TaskRange& range) {
    const TileLayout layout(weight.type(), weight.columns(), kTileRows);
    const std::size_t stride = weight.row_stride();
    const TileScratch::Lease scratch(*weight.scratch());
    std::byte* const packed = scratch.data();
    for (std::size_t tile = range.unit; tile < range.end_unit; ++tile) {
        const std::size_t first = tile * kTileRows;
        pack_tile(weight.type(), layout, weight.data() + first * stride, stride,
                  std::min(kTileRows, weight.rows() - first), 0, packed);
        for (std::size_t row = range.row; row < range.end_row;) {
            const std::size_t width = widest(kernels.by_columns, range.end_row - row);
            const TileCall call =
                tile_call(weight, args, packed, packed + layout.scales_at, tile, row);
            kernels.by_columns[width](&call);
            row += width;
        }
    }
}

void multiply_floats(const CpuWeight& weight, const MatmulArgs& args,
                     const FloatProductKernels& kernels, const TaskRange& range) {
    const auto* x = reinterpret_cast<const float*>(args.activations);
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
    for (std::size_t row = range.row; row < range.end_row;) {
        const std::size_t width = widest(kernels.by_columns, range.end_row - row);
        for (std::size_t u = range.unit; u < range.end_unit; ++u)
            one_unit(u, row, width);
        row += width;
    }
}

/// One product of a group and how its work is divided.
struct Product {
    const MatmulArgs* args = nullptr;
    const CpuWeight* weight = nullptr;
    TileKernels tiles;
    FloatProductKernels floats;
    std::size_t units = 0;
    std::size_t unit_bytes = 0;
    Split split{};

    Product() = default;
    Product(const MatmulArgs& a, const VectorKernels& kernels)
        : args(&a), weight(&cpu_weight(a.weight)) {
        if (is_float(weight->type())) {
            POTLUCK_CHECK(weight->layout() == WeightLayout::kFloatRows);
            floats = kernels.floats(weight->type());
            units = divide_up(weight->rows(), kFloatTileRows);
            unit_bytes = kFloatTileRows * weight->row_stride();
            return;
        }
        POTLUCK_CHECK(weight->layout() == WeightLayout::kTiles || weight->scratch() != nullptr);
        tiles = kernels.tile(weight->type());
        units = divide_up(weight->rows(), kTileRows);
        unit_bytes = TileLayout(weight->type(), weight->columns(), kTileRows).total;
    }
    std::size_t bytes() const { return units * unit_bytes; }
    std::size_t tasks() const { return split.unit_tasks * split.row_tasks; }
    void run(std::size_t task) const {
        const TaskRange range = task_range(split, units, args->n_rows, task);
        if (is_float(weight->type()))
            multiply_floats(*weight, *args, floats, range);
        else if (weight->layout() == WeightLayout::kBlocks)
            multiply_kept(*weight, *args, tiles, range);
        else
            multiply_tiles(*weight, *args, tiles, range);
    }
};

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
        run_units(pool, rows, stride, [&](std::size_t begin, std::size_t end) {
            for (std::size_t r = begin; r < end; ++r)
                pack_float_row(source + r * row, row, memory.data() + r * stride, stride);
        });
        return std::make_unique<CpuWeight>(type, rows, columns, WeightLayout::kFloatRows,
                                           std::move(memory));
    }
    const TileLayout layout(type, columns, rows);
    const auto pack_tiles = [&](std::size_t begin, std::size_t end) {
        for (std::size_t tile = begin; tile < end; ++tile) {
            const std::size_t first = tile * kTileRows;
            pack_tile(type, layout, source + first * row, row, std::min(kTileRows, rows - first),
                      tile, memory.data());
        }
    };
    run_units(pool, layout.tiles, layout.tile_quants + layout.tile_scales, pack_tiles);
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

void matmul_vector(ThreadPool& pool, std::span<const MatmulArgs> products,
                   const VectorKernels& kernels) {
    POTLUCK_CHECK(!products.empty() && products.size() <= MatmulGroupArgs::kMax);
    if (products.front().n_rows == 0) return;
    std::array<Product, MatmulGroupArgs::kMax> group;
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < products.size(); ++i) {
        group[i] = Product(products[i], kernels);
        bytes += group[i].bytes();
    }
    if (bytes == 0) return;
    std::size_t tasks = 0;
    for (Product& product : std::span(group).first(products.size())) {
        if (product.units == 0) continue;
        // Of the tasks that are wanted, as many as the product has of the bytes.
        const std::size_t wanted = divide_up(wanted_tasks(pool) * product.bytes(), bytes);
        product.split = split_work(product.units, product.unit_bytes, product.args->n_rows, wanted);
        tasks += product.tasks();
    }
    auto task = [&](std::size_t i) {
        const Product* product = group.data();
        for (; i >= product->tasks(); ++product)
            i -= product->tasks();
        product->run(i);
    };
    if (bytes * divide_up(products.front().n_rows, kRowsPerRead) < kAloneBytes) {
        for (std::size_t i = 0; i < tasks; ++i)
            task(i);
        return;
    }
    pool.run(tasks, task);
}

}  // namespace potluck::kernels::cpu
