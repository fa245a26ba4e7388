#pragma once

// Attention's part of the AVX-512 table (float_kernels.h says what the functions do).

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/float_kernels.h"

namespace potluck::kernels::cpu {

void attention_scores_avx512(AttentionTile& tile, KvType type, const std::byte* k,
                             std::size_t head_dim, float scale);
void attention_values_avx512(AttentionTile& tile, KvType type, const std::byte* v,
                             std::size_t head_dim);
void attention_combine_avx512(AttentionTile& tile, const float* const* block_o,
                              std::size_t head_dim);
void attention_finish_avx512(AttentionTile& tile, std::size_t head_dim);

}  // namespace potluck::kernels::cpu
