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

}  // namespace

Status require(bool ok, const char* op, const char* what) {
    if (ok) return {};
    return error(ErrorCode::kInternal, fmt::format("{}: {}", op, what));
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
        POTLUCK_TRY(require(args.indices[row] >= 0, "gather_rows", "index out of range"));
    split(pool, args.n_rows, kCopyValues / args.width, [&](std::size_t begin, std::size_t end) {
        for (std::size_t row = begin; row < end; ++row)
            std::memcpy(args.out + row * args.width,
                        args.x + static_cast<std::size_t>(args.indices[row]) * args.width,
                        args.width * sizeof(float));
    });
    return {};
}

}  // namespace potluck::kernels::cpu
