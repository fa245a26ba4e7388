#include "kernels/cpu/fused_ops.h"

#include <algorithm>
#include <cstddef>

#include "kernels/cpu/float_ops.h"

namespace potluck::kernels::cpu {
namespace {

/// Values that are made and quantised at a time.
constexpr std::size_t kPieceValues = 1024;
/// Values per task: below this the work costs less than sharing it.
constexpr std::size_t kTaskValues = 4096;

/// Quantises `n` values, the next of `row` from `column` on; both are multiples of 32.
void quantize_piece(QuantizeKernel quantize, const float* values, std::size_t n, std::size_t row,
                    std::size_t column, std::size_t columns, ActivationBlock* out) {
    const std::size_t at = activation_index(row, columns / 32) + column / 32 * kActivationGroup;
    quantize(values, n / 32, 0, n / 32, out + at);
}

}  // namespace

Status rms_norm_quantize(ThreadPool& pool, const FloatKernels& floats, QuantizeKernel quantize,
                         const RmsNormQuantizeArgs& args) {
    const RmsNormArgs& norm = args.norm;
    if (norm.n_rows == 0) return {};
    const char* const op = "rms_norm_quantize";
    POTLUCK_TRY(require(norm.x && norm.weight && norm.out && args.out, op, "null pointer"));
    POTLUCK_TRY(require(norm.width > 0 && norm.width % 32 == 0, op, "width is no multiple of 32"));
    auto* const out = reinterpret_cast<ActivationBlock*>(args.out);
    split(pool, norm.n_rows, kTaskValues / norm.width, [&](std::size_t begin, std::size_t end) {
        alignas(64) float piece[kPieceValues];
        for (std::size_t row = begin; row < end; ++row) {
            float* const values = norm.width <= kPieceValues ? piece : norm.out + row * norm.width;
            floats.rms_norm(norm.x + row * norm.width, norm.weight, norm.width, norm.epsilon,
                            values);
            quantize_piece(quantize, values, norm.width, row, 0, norm.width, out);
        }
    });
    return {};
}

Status swiglu_quantize(ThreadPool& pool, const FloatKernels& floats, QuantizeKernel quantize,
                       const SwigluQuantizeArgs& args) {
    const SwigluArgs& swiglu = args.swiglu;
    if (swiglu.n == 0) return {};
    const char* const op = "swiglu_quantize";
    const std::size_t columns = args.columns;
    POTLUCK_TRY(require(swiglu.gate && swiglu.up && args.out, op, "null pointer"));
    POTLUCK_TRY(require(columns > 0 && columns % 32 == 0 && swiglu.n % columns == 0, op,
                        "columns are no multiple of 32 or the values not whole rows"));
    auto* const out = reinterpret_cast<ActivationBlock*>(args.out);
    const std::size_t pieces = (columns + kPieceValues - 1) / kPieceValues;
    const std::size_t per_task = kTaskValues / std::min(columns, kPieceValues);
    split(pool, swiglu.n / columns * pieces, per_task, [&](std::size_t begin, std::size_t end) {
        alignas(64) float piece[kPieceValues];
        for (std::size_t i = begin; i < end; ++i) {
            const std::size_t row = i / pieces;
            const std::size_t column = i % pieces * kPieceValues;
            const std::size_t n = std::min(kPieceValues, columns - column);
            const std::size_t at = row * columns + column;
            floats.swiglu(swiglu.gate + at, swiglu.up + at, n, piece);
            quantize_piece(quantize, piece, n, row, column, columns, out);
        }
    });
    return {};
}

}  // namespace potluck::kernels::cpu
