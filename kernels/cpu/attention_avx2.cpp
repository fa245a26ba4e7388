// Attention on AVX2: as attention_avx512.cpp, with register tiles of 8 (query, key) pairs and at
// most four queries at once.

#include "kernels/cpu/attention_avx2.h"

#include <immintrin.h>

#include "kernels/cpu/kv_load_avx2.h"
#include "kernels/cpu/simd_avx2.h"

namespace potluck::kernels::cpu {
namespace {

/// Values of a head that are worked on at once.
constexpr std::size_t kPiece = 64;
/// (query, key) pairs of a register tile.
constexpr std::size_t kPairs = 8;

/// From this many queries of a tile on, a block's rows are unpacked to f32 once and not again and
/// again in registers; the numbers are the same.
constexpr std::size_t kUnpackQueries = 5;
/// Heads up to this size fit the memory for it.
constexpr std::size_t kUnpackValues = 128;
struct Unpacked {
    alignas(64) float values[kPageTokens * kUnpackValues];
};

/// One half (8 lanes) of a step of 16: lanes[i * kKeys + j] += q[i] k[j]. Inlined whatever the
/// compiler thinks, so that the lanes stay in registers.
template <typename Row, std::size_t kQueries, bool kWhole>
__attribute__((always_inline)) inline void score_half(const float* const* q, const std::byte* k,
                                                      std::size_t head_dim, std::size_t d,
                                                      __m256* lanes) {
    constexpr std::size_t kKeys = kPairs / kQueries;
    const std::size_t stride = Row::stride(head_dim);
    const std::size_t n = kWhole ? 8 : (d < head_dim ? head_dim - d : 0);
    const __m256i mask = first_lanes(n);
    __m256 query[kQueries];
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i)
        query[i] = kWhole ? _mm256_loadu_ps(q[i] + d)
                          : (n == 0 ? _mm256_setzero_ps() : _mm256_maskload_ps(q[i] + d, mask));
    POTLUCK_UNROLL
    for (std::size_t j = 0; j < kKeys; ++j) {
        __m256 key;
        if constexpr (kWhole) {
            key = Row::load(k + j * stride, d);
        } else {
            key = Row::load_rest(k + j * stride, d, n);
        }
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i)
            lanes[i * kKeys + j] = _mm256_fmadd_ps(query[i], key, lanes[i * kKeys + j]);
    }
}

/// All of one half of the lanes: from `half` (0 or 8) on in each step of 16.
template <typename Row, std::size_t kQueries>
__attribute__((always_inline)) inline void score_lanes(const float* const* q, const std::byte* k,
                                                       std::size_t head_dim, std::size_t half,
                                                       __m256* lanes) {
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kPairs; ++i)
        lanes[i] = _mm256_setzero_ps();
    std::size_t d = half;
    for (; d - half + 16 <= head_dim; d += 16)
        score_half<Row, kQueries, true>(q, k, head_dim, d, lanes);
    if constexpr (!Row::kBlocks) {
        if (d - half < head_dim) score_half<Row, kQueries, false>(q, k, head_dim, d, lanes);
    }
}

/// Scores of kQueries queries with the kPairs / kQueries keys from `k` on, to p[query][t...]. One
/// half of the lanes after the other: eight pairs then fit the registers.
template <typename Row, std::size_t kQueries>
void score_tile(AttentionTile& tile, std::size_t query, std::size_t t, const std::byte* k,
                std::size_t head_dim, __m256 scale) {
    constexpr std::size_t kKeys = kPairs / kQueries;
    const float* const* const q = tile.q + query;
    __m256 low[kPairs];
    __m256 high[kPairs];
    score_lanes<Row, kQueries>(q, k, head_dim, 0, low);
    score_lanes<Row, kQueries>(q, k, head_dim, 8, high);
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kPairs; ++i)
        low[i] = _mm256_add_ps(low[i], high[i]);
    alignas(32) float sums[kPairs];
    _mm256_store_ps(sums, _mm256_mul_ps(fold8(low), scale));
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
    float block_max = p[0];
    std::size_t at = 0;
    if (n >= 8) {
        __m256 most = _mm256_load_ps(p);
        for (at = 8; at + 8 <= n; at += 8)
            most = _mm256_max_ps(_mm256_load_ps(p + at), most);
        const __m128 four =
            _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
        const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        block_max = _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
    }
    for (; at < n; ++at)
        block_max = p[at] > block_max ? p[at] : block_max;
    const __m256 block_maxes = _mm256_set1_ps(block_max);
    Lanes lanes = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (std::size_t t = 0; t < n; t += 8) {
        const __m256 mask = _mm256_castsi256_ps(first_lanes(n - t));
        const __m256 e =
            _mm256_and_ps(mask, exp8(_mm256_sub_ps(_mm256_load_ps(p + t), block_maxes)));
        _mm256_store_ps(p + t, e);
        __m256& lane = t % 16 == 0 ? lanes.low : lanes.high;
        lane = _mm256_add_ps(lane, e);  // the zeros of the mask change nothing: no lane is -0
    }
    tile.block_max[query] = block_max;
    tile.block_sum[query] = fold(lanes);
}

/// combine_sums of the scalar file for eight queries from `first` on.
void combine_sums8(AttentionTile& tile, std::size_t first) {
    const __m256i none = _mm256_cmpeq_epi32(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile.n_keys + first)),
        _mm256_setzero_si256());
    const __m256i used = _mm256_xor_si256(none, _mm256_set1_epi32(-1));
    const __m256 m = _mm256_loadu_ps(tile.block_max + first);
    const __m256 l = _mm256_loadu_ps(tile.block_sum + first);
    if (!tile.begun) {
        _mm256_maskstore_ps(tile.max + first, used, m);
        _mm256_maskstore_ps(tile.sum + first, used, l);
        return;
    }
    const __m256 old_max = _mm256_loadu_ps(tile.max + first);
    const __m256 max = _mm256_max_ps(old_max, m);
    const __m256 a = exp8(_mm256_sub_ps(old_max, max));
    const __m256 c = exp8(_mm256_sub_ps(m, max));
    const __m256 sum = _mm256_fmadd_ps(_mm256_loadu_ps(tile.sum + first), a, _mm256_mul_ps(l, c));
    _mm256_maskstore_ps(tile.max + first, used, max);
    _mm256_maskstore_ps(tile.sum + first, used, sum);
    _mm256_storeu_ps(tile.old_weight + first, a);
    _mm256_storeu_ps(tile.new_weight + first, c);
}

void combine_sums(AttentionTile& tile) {
    for (std::size_t first = 0; first < tile.n_queries; first += 8)
        combine_sums8(tile, first);
}

/// Puts a block's o into the running O: n values from d on.
void combine_values(const AttentionTile& tile, std::size_t query, std::size_t d, const float* o,
                    std::size_t n) {
    const __m256 a = _mm256_set1_ps(tile.old_weight[query]);
    const __m256 c = _mm256_set1_ps(tile.new_weight[query]);
    float* const out = tile.o[query] + d;
    for (std::size_t i = 0; i < n; i += 8) {
        __m256 v = load_first(o + i, n - i);
        if (tile.begun) v = _mm256_fmadd_ps(load_first(out + i, n - i), a, _mm256_mul_ps(v, c));
        store_first(out + i, n - i, v);
    }
}

/// o[query][8 c...] += p[query][t] v[t][d + 8 c...] for keys [begin, end), kPieces vectors wide;
/// of a single vector n values.
template <typename Row, std::size_t kQueries, std::size_t kPieces>
void value_tile(const float (*p)[kPageTokens], std::size_t begin, std::size_t end,
                const std::byte* v, std::size_t stride, std::size_t d, std::size_t n,
                float (*o)[kPiece]) {
    __m256 sum[kQueries][kPieces];
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c)
            sum[i][c] = begin == 0 ? _mm256_setzero_ps() : _mm256_load_ps(o[i] + c * 8);
    }
    for (std::size_t t = begin; t < end; ++t) {
        __m256 weight[kQueries];
        POTLUCK_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i)
            weight[i] = _mm256_set1_ps(p[i][t]);
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c) {
            __m256 value;
            if constexpr (kPieces == 1 && !Row::kBlocks) {
                value = Row::load_rest(v + t * stride, d, n);
            } else {
                value = Row::load(v + t * stride, d + c * 8);
            }
            POTLUCK_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i)
                sum[i][c] = _mm256_fmadd_ps(weight[i], value, sum[i][c]);
        }
    }
    POTLUCK_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        POTLUCK_UNROLL
        for (std::size_t c = 0; c < kPieces; ++c)
            _mm256_store_ps(o[i] + c * 8, sum[i][c]);
    }
}

/// value_tile over n values of the head from `first` on, in the widest register tiles that fit.
template <typename Row, std::size_t kQueries>
void values(const float (*p)[kPageTokens], std::size_t begin, std::size_t end, const std::byte* v,
            std::size_t stride, std::size_t first, std::size_t n, float (*o)[kPiece]) {
    constexpr std::size_t kWide = 8 / kQueries;
    if (begin == end) return;
    std::size_t d = 0;
    const auto at = [&](std::size_t i) { return reinterpret_cast<float(*)[kPiece]>(o[0] + i); };
    for (; d + 8 * kWide <= n; d += 8 * kWide)
        value_tile<Row, kQueries, kWide>(p, begin, end, v, stride, first + d, 8, at(d));
    for (; d + 16 <= n; d += 16)
        value_tile<Row, kQueries, 2>(p, begin, end, v, stride, first + d, 8, at(d));
    for (; d < n; d += 8)
        value_tile<Row, kQueries, 1>(p, begin, end, v, stride, first + d, n - d, at(d));
}

template <typename Row, std::size_t kQueries>
void group_scores(AttentionTile& tile, std::size_t query, const std::byte* k, std::size_t head_dim,
                  __m256 scale) {
    constexpr std::size_t kKeys = kPairs / kQueries;
    std::size_t most = 0;
    for (std::size_t i = query; i < query + kQueries; ++i)
        most = tile.n_keys[i] > most ? tile.n_keys[i] : most;
    for (std::size_t t = 0; t < most; t += kKeys)
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
        alignas(32) float o[kQueries][kPiece];  // nothing until the first key
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
    const __m256 scales = _mm256_set1_ps(scale);
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
    return Row::kBlocks && tile.n_queries >= kUnpackQueries && head_dim <= kUnpackValues;
}

/// The rows that any query sees, as f32; only of blocks.
template <typename Row>
const std::byte* unpack(const AttentionTile& tile, const std::byte* rows, std::size_t head_dim,
                        Unpacked& to) {
    std::size_t most = 0;
    for (std::size_t i = 0; i < tile.n_queries; ++i)
        most = tile.n_keys[i] > most ? tile.n_keys[i] : most;
    // Whole register tiles are read; one query takes most keys at a time.
    most = (most + kPairs - 1) / kPairs * kPairs;
    for (std::size_t t = 0; t < most; ++t)
        for (std::size_t d = 0; d < head_dim; d += 8)
            _mm256_store_ps(to.values + t * head_dim + d,
                            Row::load(rows + t * Row::stride(head_dim), d));
    return reinterpret_cast<const std::byte*>(to.values);
}

}  // namespace
}  // namespace potluck::kernels::cpu

#include "kernels/cpu/attention_rows.inc"

namespace potluck::kernels::cpu {

void attention_scores_avx2(AttentionTile& tile, KvType type, const std::byte* k,
                           std::size_t head_dim, float scale) {
    scores_of(tile, type, k, head_dim, scale);
}

void attention_values_avx2(AttentionTile& tile, KvType type, const std::byte* v,
                           std::size_t head_dim) {
    values_of(tile, type, v, head_dim);
}

void attention_combine_avx2(AttentionTile& tile, const float* const* block_o,
                            std::size_t head_dim) {
    combine_sums(tile);
    for (std::size_t query = 0; query < tile.n_queries; ++query)
        if (tile.n_keys[query] != 0) combine_values(tile, query, 0, block_o[query], head_dim);
    tile.begun = true;
}

void attention_finish_avx2(AttentionTile& tile, std::size_t head_dim) {
    for (std::size_t query = 0; query < tile.n_queries; ++query) {
        const __m256 inverse = _mm256_set1_ps(1.0F / tile.sum[query]);
        float* const o = tile.o[query];
        for (std::size_t d = 0; d < head_dim; d += 8)
            store_first(o + d, head_dim - d,
                        _mm256_mul_ps(load_first(o + d, head_dim - d), inverse));
    }
}

}  // namespace potluck::kernels::cpu
