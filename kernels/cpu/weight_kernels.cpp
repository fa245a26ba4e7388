#include "kernels/cpu/weight_kernels.h"

#include "base/check.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu {
namespace {

constexpr VectorKernels kAvx2Kernels = {tile_kernels_avx2, float_kernels_avx2, quantize_avx2};
constexpr VectorKernels kAvx512Kernels = {tile_kernels_avx512, float_kernels_avx512,
                                          quantize_avx512};

std::size_t activation_bytes(ActivationForm form, std::size_t rows, std::size_t columns) {
    if (form == ActivationForm::kF32) return rows * columns * sizeof(float);
    const std::size_t groups = (rows + kActivationGroup - 1) / kActivationGroup;
    return groups * kActivationGroup * (columns / 32) * sizeof(ActivationBlock);
}

template <const VectorKernels& kKernels>
void matmul(ThreadPool& pool, std::span<const MatmulArgs> products) {
    matmul_vector(pool, products, kKernels);
}

constexpr WeightKernels kScalar = {.pack = pack_scalar,
                                   .keep = keep_scalar,
                                   .packed_bytes = packed_bytes_scalar,
                                   .activation_bytes = activation_bytes,
                                   .quantize = quantize_scalar,
                                   .matmul = matmul_scalar,
                                   .embed = embed_rows,
                                   .unsupported = unsupported_weight};

template <const VectorKernels& kKernels>
constexpr WeightKernels vector_table() {
    return {.pack = pack_vector,
            .keep = keep_vector,
            .packed_bytes = packed_bytes_vector,
            .activation_bytes = activation_bytes,
            .quantize = kKernels.quantize,
            .matmul = matmul<kKernels>,
            .embed = embed_rows,
            .unsupported = unsupported_weight};
}

constexpr WeightKernels kAvx2 = vector_table<kAvx2Kernels>();
constexpr WeightKernels kAvx512 = vector_table<kAvx512Kernels>();

}  // namespace

const WeightKernels& weight_kernels(Isa isa) {
    switch (isa) {
        case Isa::kScalar:
            return kScalar;
        case Isa::kAvx2:
            return kAvx2;
        case Isa::kAvx512:
            return kAvx512;
    }
    POTLUCK_CHECK(false && "an instruction set without weight kernels");
    return kScalar;
}

}  // namespace potluck::kernels::cpu
