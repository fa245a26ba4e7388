#pragma once

// Random weights of every type and the calls around a weight kernel table, for the weights_* tests.

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/tensor_type.h"
#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/weight_kernels.h"

namespace potluck::kernels::cpu::testing {

inline constexpr Isa kAllIsas[] = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};

/// Every type that a kernel multiplies by.
std::vector<TensorType> weight_types();

bool is_available(Isa isa);

/// Skips the test, saying so, if the processor lacks the instruction set.
#define POTLUCK_SKIP_WITHOUT(isa)                             \
    if (!::potluck::kernels::cpu::testing::is_available(isa)) \
    GTEST_SKIP() << "NOT TESTED: this processor has no " << ::potluck::kernels::cpu::to_string(isa)

/// Which scales random blocks get: like a model's, or any finite half.
enum class ScaleRange { kUsual, kAnyFinite };

/// `rows` rows of GGUF bytes: every bit pattern of quants, a few blocks of extremes and of zeros.
std::vector<std::byte> random_weights(TensorType type, std::size_t columns, std::size_t rows,
                                      ScaleRange range, std::mt19937_64& random);

/// `rows` rows of activations of mixed magnitudes; some blocks are zero, one value in a block huge.
std::vector<float> random_activations(std::size_t columns, std::size_t rows,
                                      std::mt19937_64& random);

std::unique_ptr<PackedWeight> pack(Isa isa, ThreadPool& pool, std::span<const std::byte> bytes,
                                   TensorType type, std::size_t columns, RowRange range);

/// The same without packing; `bytes` must outlive the weight.
std::unique_ptr<PackedWeight> keep(Isa isa, ThreadPool& pool, std::span<const std::byte> bytes,
                                   TensorType type, std::size_t columns, RowRange range);

/// Activations in the weight's form.
AlignedBuffer prepare(Isa isa, ThreadPool& pool, TensorType type, std::span<const float> x,
                      std::size_t columns);

/// out[row][output]; `bias` may be empty.
std::vector<float> multiply(Isa isa, ThreadPool& pool, const PackedWeight& weight,
                            std::span<const float> x, std::span<const float> bias);

/// "" if all bits are equal, else the first difference.
std::string difference(std::span<const float> got, std::span<const float> wanted);

}  // namespace potluck::kernels::cpu::testing
