// Attention on AVX-512. Scores: a register tile of 16 (query, key) pairs, each with its 16 lanes,
// folded all at once. Values: a register tile of queries by 16-value pieces of the head, keys
// ascending. A key or value is widened to f32 once for all queries of the register tile.

#include "kernels/cpu/attention_avx512.h"

#include "kernels/cpu/kv_load_avx512.h"
#include "kernels/cpu/simd_avx512.h"

namespace potluck::kernels::cpu {
namespace {

constexpr std::size_t kLanes = 16;
/// Values of a head that are worked on at once.
constexpr std::size_t kPiece = 128;

/// From this many queries of a tile on, a block's rows are unpacked to f32 once and not again and
/// again in registers; the numbers are the same.
constexpr std::size_t kUnpackQueries = 5;
/// Heads up to this size fit the memory for it.
constexpr std::size_t kUnpackValues = 128;
struct Unpacked {
    alignas(64) float values[kPageTokens * kUnpackValues];
};

/// Scores of kQueries queries with the 16 / kQueries keys from `k` on, to p[query][t...].
template <typename Row, std::size_t kQueries>
void score_tile(AttentionTile& tile, std::size_t query, std::size_t t, const std::byte* k,
                std::size_t head_dim, __m512 scale) {
    constexpr std::size_t kKeys = 16 / kQueries;
    constexpr std::size_t kVectors = Row::kVectors;
    const std::size_t stride = Row::stride(head_dim);
    __m512 lanes[16];
    POTLUCK_UNROLL
    for (auto& lane : lanes)
        lane = _mm512_setzero_ps();
    const std::size_t whole = head_dim / kLanes * kLanes;
    for (std::size_t d = 0; d < whole; d += kVectors * kLanes) {
        __m512 q[kQueries][kVectors];
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i) {
            POTLUCK_UNROLL
            for (std::size_t c = 0; c < kVectors; ++c)
                q[i][c] = _mm512_loadu_ps(tile.q[query + i] + d + c * kLanes);
        }
        POTLUCK_UNROLL
        for (std::size_t j = 0; j < kKeys; ++j) {
            __m512 key[kVectors];
            Row::load(k + j * stride, d, key);
            POTLUCK_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i) {
                POTLUCK_UNROLL
                for (std::size_t c = 0; c < kVectors; ++c)
                    lanes[i * kKeys + j] = _mm512_fmadd_ps(q[i][c], key[c], lanes[i * kKeys + j]);
            }
        }
    }
    if constexpr (kVectors == 1) {
        if (whole < head_dim) {
            const __mmask16 mask = first_lanes(head_dim - whole);
            POTLUCK_UNROLL
            for (std::size_t j = 0; j < kKeys; ++j) {
                const __m512 key = Row::load_rest(k + j * stride, whole, mask);
                POTLUCK_UNROLL
                for (std::size_t i = 0; i < kQueries; ++i)
                    lanes[i * kKeys + j] =
                        _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, tile.q[query + i] + whole), key,
                                        lanes[i * kKeys + j]);
            }
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

/// o[query][16 c...] += p[query][t] v[t][d + 16 c...] for keys [begin, end), kPieces pieces wide.
template <typename Row, std::size_t kQueries, std::size_t kPieces>
void value_tile(const float (*p)[kPageTokens], std::size_t begin, std::size_t end,
                const std::byte* v, std::size_t stride, std::size_t d, float (*o)[kPiece]) {
    constexpr std::size_t kVectors = Row::kVectors;
    __m512 sum[kQueries][kPieces];
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c)
            sum[i][c] = begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(o[i] + c * kLanes);
    }
    for (std::size_t t = begin; t < end; ++t) {
        __m512 weight[kQueries];
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i)
            weight[i] = _mm512_set1_ps(p[i][t]);
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; c += kVectors) {
            __m512 value[kVectors];
            Row::load(v + t * stride, d + c * kLanes, value);
            POTLUCK_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i) {
                POTLUCK_UNROLL
                for (std::size_t part = 0; part < kVectors; ++part)
                    sum[i][c + part] = _mm512_fmadd_ps(weight[i], value[part], sum[i][c + part]);
            }
        }
    }
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c)
            _mm512_store_ps(o[i] + c * kLanes, sum[i][c]);
    }
}

/// value_tile for the last values of a head, fewer than two pieces.
template <typename Row, std::size_t kQueries>
void value_rest(const float (*p)[kPageTokens], std::size_t begin, std::size_t end,
                const std::byte* v, std::size_t stride, std::size_t d, __mmask16 mask,
                float (*o)[kPiece]) {
    __m512 sum[kQueries];
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i)
        sum[i] = begin == 0 ? _mm512_setzero_ps() : _mm512_load_ps(o[i]);
    for (std::size_t t = begin; t < end; ++t) {
        const __m512 value = Row::load_rest(v + t * stride, d, mask);
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i)
            sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(p[i][t]), value, sum[i]);
    }
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i)
        _mm512_store_ps(o[i], sum[i]);
}

/// value_tile over n values of the head from `first` on, in the widest register tiles that fit.
template <typename Row, std::size_t kQueries>
void values(const float (*p)[kPageTokens], std::size_t begin, std::size_t end, const std::byte* v,
            std::size_t stride, std::size_t first, std::size_t n, float (*o)[kPiece]) {
    constexpr std::size_t kWide = kQueries == 4 ? 4 : 8;
    if (begin == end) return;
    std::size_t d = 0;
    const auto at = [&](std::size_t i) { return reinterpret_cast<float(*)[kPiece]>(o[0] + i); };
    for (; d + kWide * kLanes <= n; d += kWide * kLanes)
        value_tile<Row, kQueries, kWide>(p, begin, end, v, stride, first + d, at(d));
    for (; d + 2 * kLanes <= n; d += 2 * kLanes)
        value_tile<Row, kQueries, 2>(p, begin, end, v, stride, first + d, at(d));
    if constexpr (Row::kVectors == 1) {
        for (; d < n; d += kLanes)
            value_rest<Row, kQueries>(p, begin, end, v, stride, first + d, first_lanes(n - d),
                                      at(d));
    }
}

/// The whole block for kQueries queries from `query` on.
template <typename Row, std::size_t kQueries>
void group_scores(AttentionTile& tile, std::size_t query, const std::byte* k, std::size_t head_dim,
                  __m512 scale) {
    std::size_t most = 0;
    for (std::size_t i = query; i < query + kQueries; ++i)
        most = tile.n_keys[i] > most ? tile.n_keys[i] : most;
    for (std::size_t t = 0; t < most; t += 16 / kQueries)
        score_tile<Row, kQueries>(tile, query, t, k + t * Row::stride(head_dim), head_dim, scale);
    for (std::size_t i = query; i < query + kQueries; ++i)
        if (tile.n_keys[i] != 0) probabilities(tile, i);
}

template <typename Row, std::size_t kQueries>
void group_values(AttentionTile& tile, std::size_t query, const std::byte* v,
                  std::size_t head_dim) {
    const std::size_t stride = Row::stride(head_dim);
    std::size_t common = kPageTokens;
    for (std::size_t i = query; i < query + kQueries; ++i)
        common = tile.n_keys[i] < common ? tile.n_keys[i] : common;
    for (std::size_t d = 0; d < head_dim; d += kPiece) {
        const std::size_t n = head_dim - d < kPiece ? head_dim - d : kPiece;
        alignas(64) float o[kQueries][kPiece];  // nothing until the first key
        values<Row, kQueries>(tile.p + query, 0, common, v, stride, d, n, o);
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i) {
            const std::size_t own = tile.n_keys[query + i];
            if (own == 0) continue;
            values<Row, 1>(tile.p + query + i, common, own, v, stride, d, n, o + i);
            combine_values(tile, query + i, d, o[i], n);
        }
    }
}

template <typename Row>
void block_scores(AttentionTile& tile, const std::byte* k, std::size_t head_dim, float scale) {
    const __m512 scales = _mm512_set1_ps(scale);
    std::size_t query = 0;
    for (; query + 4 <= tile.n_queries; query += 4)
        group_scores<Row, 4>(tile, query, k, head_dim, scales);
    for (; query + 2 <= tile.n_queries; query += 2)
        group_scores<Row, 2>(tile, query, k, head_dim, scales);
    for (; query < tile.n_queries; ++query)
        group_scores<Row, 1>(tile, query, k, head_dim, scales);
    combine_sums(tile);
}

template <typename Row>
void block_values(AttentionTile& tile, const std::byte* v, std::size_t head_dim) {
    std::size_t query = 0;
    for (; query + 4 <= tile.n_queries; query += 4)
        group_values<Row, 4>(tile, query, v, head_dim);
    for (; query + 2 <= tile.n_queries; query += 2)
        group_values<Row, 2>(tile, query, v, head_dim);
    for (; query < tile.n_queries; ++query)
        group_values<Row, 1>(tile, query, v, head_dim);
    tile.begun = true;
}

/// Whether the block's rows are worth unpacking.
template <typename Row>
bool worth_unpacking(const AttentionTile& tile, std::size_t head_dim) {
    return Row::kVectors == 2 && tile.n_queries >= kUnpackQueries && head_dim <= kUnpackValues;
}

/// The rows that any query sees, as f32; only of blocks.
template <typename Row>
const std::byte* unpack(const AttentionTile& tile, const std::byte* rows, std::size_t head_dim,
                        Unpacked& to) {
    std::size_t most = 0;
    for (std::size_t i = 0; i < tile.n_queries; ++i)
        most = tile.n_keys[i] > most ? tile.n_keys[i] : most;
    // Whole register tiles are read: four queries take four keys at a time, one takes sixteen.
    most = (most + 15) / 16 * 16;
    for (std::size_t t = 0; t < most; ++t)
        for (std::size_t d = 0; d < head_dim; d += Row::kVectors * kLanes) {
            __m512 v[Row::kVectors];
            Row::load(rows + t * Row::stride(head_dim), d, v);
            for (std::size_t i = 0; i < Row::kVectors; ++i)
                _mm512_store_ps(to.values + t * head_dim + d + i * kLanes, v[i]);
        }
    return reinterpret_cast<const std::byte*>(to.values);
}

}  // namespace
}  // namespace potluck::kernels::cpu

#include "kernels/cpu/attention_rows.inc"

namespace potluck::kernels::cpu {

void attention_scores_avx512(AttentionTile& tile, KvType type, const std::byte* k,
                             std::size_t head_dim, float scale) {
    scores_of(tile, type, k, head_dim, scale);
}

void attention_values_avx512(AttentionTile& tile, KvType type, const std::byte* v,
                             std::size_t head_dim) {
    values_of(tile, type, v, head_dim);
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
