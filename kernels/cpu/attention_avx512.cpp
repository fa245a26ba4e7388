// Attention on AVX-512. Scores: a register tile of 16 (query, key) pairs, each with its 16 lanes,
// folded all at once. Values: a register tile of queries by 16-value pieces of the head, keys
// ascending. A key or value is widened to f32 once for all queries of the register tile.

#include "kernels/cpu/attention_avx512.h"

#include "kernels/cpu/simd_avx512.h"

namespace potluck::kernels::cpu {
namespace {

constexpr std::size_t kLanes = 16;
/// Values of a head that are worked on at once.
constexpr std::size_t kPiece = 128;

__m512 load_halves(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
__m512 load_halves(const std::uint16_t* p, __mmask16 mask) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p));
}

/// Scores of kQueries queries with the 16 / kQueries keys from `k` on, to p[query][t...].
template <std::size_t kQueries>
void score_tile(AttentionTile& tile, std::size_t query, std::size_t t, const std::uint16_t* k,
                std::size_t head_dim, __m512 scale) {
    constexpr std::size_t kKeys = 16 / kQueries;
    __m512 lanes[16];
    POTLUCK_UNROLL
    for (auto& lane : lanes)
        lane = _mm512_setzero_ps();
    const std::size_t whole = head_dim / kLanes * kLanes;
    for (std::size_t d = 0; d < whole; d += kLanes) {
        __m512 q[kQueries];
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i)
            q[i] = _mm512_loadu_ps(tile.q[query + i] + d);
        POTLUCK_UNROLL
        for (std::size_t j = 0; j < kKeys; ++j) {
            const __m512 key = load_halves(k + j * head_dim + d);
            POTLUCK_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i)
                lanes[i * kKeys + j] = _mm512_fmadd_ps(q[i], key, lanes[i * kKeys + j]);
        }
    }
    if (whole < head_dim) {
        const __mmask16 mask = first_lanes(head_dim - whole);
        POTLUCK_UNROLL
        for (std::size_t j = 0; j < kKeys; ++j) {
            const __m512 key = load_halves(k + j * head_dim + whole, mask);
            POTLUCK_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i)
                lanes[i * kKeys + j] =
                    _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, tile.q[query + i] + whole), key,
                                    lanes[i * kKeys + j]);
        }
    }
    alignas(64) float sums[16];
    _mm512_store_ps(sums, _mm512_mul_ps(fold16x16(lanes), scale));
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        POTLUCK_UNROLL
        for (std::size_t j = 0; j < kKeys; ++j)
            tile.p[query + i][t + j] = sums[i * kKeys + j];
    }
}

template <std::size_t kQueries>
void scores(AttentionTile& tile, std::size_t query, std::size_t n_keys, const std::uint16_t* k,
            std::size_t head_dim, __m512 scale) {
    for (std::size_t t = 0; t < n_keys; t += 16 / kQueries)
        score_tile<kQueries>(tile, query, t, k + t * head_dim, head_dim, scale);
}

/// From scores to probabilities; maximum and sum of the block.
void probabilities(AttentionTile& tile, std::size_t query) {
    float* const p = tile.p[query];
    const std::size_t n = tile.n_keys[query];
    __m512 max = _mm512_set1_ps(p[0]);
    for (std::size_t t = 0; t < n; t += kLanes)
        max = _mm512_mask_max_ps(max, first_lanes(n - t), max, _mm512_load_ps(p + t));
    const float block_max = _mm512_reduce_max_ps(max);
    const __m512 block_maxes = _mm512_set1_ps(block_max);
    __m512 lanes = _mm512_setzero_ps();
    for (std::size_t t = 0; t < n; t += kLanes) {
        const __m512 e = exp16(_mm512_sub_ps(_mm512_load_ps(p + t), block_maxes));
        _mm512_store_ps(p + t, e);
        lanes = _mm512_mask_add_ps(lanes, first_lanes(n - t), lanes, e);
    }
    tile.block_max[query] = block_max;
    tile.block_sum[query] = fold16(lanes);
}

/// combine_sums of the scalar file, for all queries of the tile at once.
void combine_sums(AttentionTile& tile) {
    const __mmask16 used =
        _mm512_test_epi32_mask(_mm512_loadu_si512(tile.n_keys), _mm512_loadu_si512(tile.n_keys));
    const __m512 m = _mm512_loadu_ps(tile.block_max);
    const __m512 l = _mm512_loadu_ps(tile.block_sum);
    if (!tile.begun) {
        _mm512_mask_storeu_ps(tile.max, used, m);
        _mm512_mask_storeu_ps(tile.sum, used, l);
        return;
    }
    const __m512 old_max = _mm512_loadu_ps(tile.max);
    const __m512 max = _mm512_max_ps(old_max, m);
    const __m512 a = exp16(_mm512_sub_ps(old_max, max));
    const __m512 c = exp16(_mm512_sub_ps(m, max));
    const __m512 sum = _mm512_fmadd_ps(_mm512_loadu_ps(tile.sum), a, _mm512_mul_ps(l, c));
    _mm512_mask_storeu_ps(tile.max, used, max);
    _mm512_mask_storeu_ps(tile.sum, used, sum);
    _mm512_storeu_ps(tile.old_weight, a);
    _mm512_storeu_ps(tile.new_weight, c);
}

/// Puts a block's o into the running O: n values from d on.
void combine_values(const AttentionTile& tile, std::size_t query, std::size_t d, const float* o,
                    std::size_t n) {
    const __m512 a = _mm512_set1_ps(tile.old_weight[query]);
    const __m512 c = _mm512_set1_ps(tile.new_weight[query]);
    float* const out = tile.o[query] + d;
    for (std::size_t i = 0; i < n; i += kLanes) {
        const __mmask16 mask = first_lanes(n - i);
        __m512 v = _mm512_maskz_loadu_ps(mask, o + i);
        if (tile.begun)
            v = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, out + i), a, _mm512_mul_ps(v, c));
        _mm512_mask_storeu_ps(out + i, mask, v);
    }
}

/// o[query][16 c...] += p[query][t] v[t][16 c...] for keys [begin, end), kPieces pieces wide.
template <std::size_t kQueries, std::size_t kPieces>
void value_tile(const float (*p)[kPageTokens], std::size_t begin, std::size_t end,
                const std::uint16_t* v, std::size_t stride, __mmask16 mask, float (*o)[kPiece]) {
    __m512 sum[kQueries][kPieces];
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c)
            sum[i][c] = _mm512_load_ps(o[i] + c * kLanes);
    }
    for (std::size_t t = begin; t < end; ++t) {
        __m512 weight[kQueries];
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i)
            weight[i] = _mm512_set1_ps(p[i][t]);
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c) {
            const std::uint16_t* const from = v + t * stride + c * kLanes;
            const __m512 value = kPieces == 1 ? load_halves(from, mask) : load_halves(from);
            POTLUCK_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i)
                sum[i][c] = _mm512_fmadd_ps(weight[i], value, sum[i][c]);
        }
    }
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c)
            _mm512_store_ps(o[i] + c * kLanes, sum[i][c]);
    }
}

/// value_tile over n values of the head, in the widest register tiles that fit.
template <std::size_t kQueries>
void values(const float (*p)[kPageTokens], std::size_t begin, std::size_t end,
            const std::uint16_t* v, std::size_t stride, std::size_t n, float (*o)[kPiece]) {
    constexpr std::size_t kWide = kQueries == 4 ? 4 : 8;
    constexpr __mmask16 kAll = 0xFFFF;
    if (begin == end) return;
    std::size_t d = 0;
    const auto at = [&](std::size_t i) { return reinterpret_cast<float(*)[kPiece]>(o[0] + i); };
    for (; d + kWide * kLanes <= n; d += kWide * kLanes)
        value_tile<kQueries, kWide>(p, begin, end, v + d, stride, kAll, at(d));
    for (; d + 2 * kLanes <= n; d += 2 * kLanes)
        value_tile<kQueries, 2>(p, begin, end, v + d, stride, kAll, at(d));
    for (; d < n; d += kLanes)
        value_tile<kQueries, 1>(p, begin, end, v + d, stride, first_lanes(n - d), at(d));
}

/// The whole block for kQueries queries from `query` on.
template <std::size_t kQueries>
void group_scores(AttentionTile& tile, std::size_t query, const std::uint16_t* k,
                  std::size_t head_dim, __m512 scale) {
    std::size_t most = 0;
    for (std::size_t i = query; i < query + kQueries; ++i)
        most = tile.n_keys[i] > most ? tile.n_keys[i] : most;
    scores<kQueries>(tile, query, most, k, head_dim, scale);
    for (std::size_t i = query; i < query + kQueries; ++i)
        if (tile.n_keys[i] != 0) probabilities(tile, i);
}

template <std::size_t kQueries>
void group_values(AttentionTile& tile, std::size_t query, const std::uint16_t* v,
                  std::size_t head_dim) {
    std::size_t common = kPageTokens;
    for (std::size_t i = query; i < query + kQueries; ++i)
        common = tile.n_keys[i] < common ? tile.n_keys[i] : common;
    for (std::size_t d = 0; d < head_dim; d += kPiece) {
        const std::size_t n = head_dim - d < kPiece ? head_dim - d : kPiece;
        alignas(64) float o[kQueries][kPiece] = {};
        values<kQueries>(tile.p + query, 0, common, v + d, head_dim, n, o);
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i) {
            const std::size_t own = tile.n_keys[query + i];
            if (own == 0) continue;
            values<1>(tile.p + query + i, common, own, v + d, head_dim, n, o + i);
            combine_values(tile, query + i, d, o[i], n);
        }
    }
}

}  // namespace

void attention_block_avx512(AttentionTile& tile, const std::uint16_t* k, const std::uint16_t* v,
                            std::size_t head_dim, float scale) {
    const __m512 scales = _mm512_set1_ps(scale);
    std::size_t query = 0;
    for (; query + 4 <= tile.n_queries; query += 4)
        group_scores<4>(tile, query, k, head_dim, scales);
    for (; query + 2 <= tile.n_queries; query += 2)
        group_scores<2>(tile, query, k, head_dim, scales);
    for (; query < tile.n_queries; ++query)
        group_scores<1>(tile, query, k, head_dim, scales);
    combine_sums(tile);
    query = 0;
    for (; query + 4 <= tile.n_queries; query += 4)
        group_values<4>(tile, query, v, head_dim);
    for (; query + 2 <= tile.n_queries; query += 2)
        group_values<2>(tile, query, v, head_dim);
    for (; query < tile.n_queries; ++query)
        group_values<1>(tile, query, v, head_dim);
    tile.begun = true;
}

void attention_combine_avx512(AttentionTile& tile, const float* const* block_o,
                              std::size_t head_dim) {
    combine_sums(tile);
    for (std::size_t query = 0; query < tile.n_queries; ++query)
        if (tile.n_keys[query] != 0) combine_values(tile, query, 0, block_o[query], head_dim);
    tile.begun = true;
}

void attention_finish_avx512(AttentionTile& tile, std::size_t head_dim) {
    for (std::size_t query = 0; query < tile.n_queries; ++query) {
        const __m512 inverse = _mm512_set1_ps(1.0F / tile.sum[query]);
        float* const o = tile.o[query];
        for (std::size_t d = 0; d < head_dim; d += kLanes) {
            const __mmask16 mask = first_lanes(head_dim - d);
            _mm512_mask_storeu_ps(o + d, mask,
                                  _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, o + d), inverse));
        }
    }
}

}  // namespace potluck::kernels::cpu
