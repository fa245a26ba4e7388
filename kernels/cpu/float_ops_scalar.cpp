// The definition of the float operations (docs/arithmetic.md), written to be read. Other
// instruction sets repeat it lane by lane.

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/portable_math.h"
#include "kernels/cpu/float_kernels.h"

namespace potluck::kernels::cpu {
namespace {

constexpr std::size_t kLanes = 16;

/// The 16 partial sums of a lane sum and their fold.
struct LaneSum {
    float lane[kLanes] = {};

    float fold() {
        for (std::size_t h = kLanes / 2; h > 0; h /= 2)
            for (std::size_t j = 0; j < h; ++j)
                lane[j] += lane[j + h];
        return lane[0];
    }
};

/// Σ a[i] b(i) over n values; the last lanes are padded with zeros as the page says (an addition of
/// zero is not nothing: it turns -0 into 0).
template <typename B>
float dot16(const float* a, B b, std::size_t n) {
    LaneSum sum;
    for (std::size_t i = 0; i < n; ++i)
        sum.lane[i % kLanes] = std::fma(a[i], b(i), sum.lane[i % kLanes]);
    for (std::size_t i = n; i % kLanes != 0; ++i)
        sum.lane[i % kLanes] = std::fma(0.0F, 0.0F, sum.lane[i % kLanes]);
    return sum.fold();
}

void rms_norm(const float* x, const float* weight, std::size_t width, float epsilon, float* out) {
    const float ss = dot16(
        x, [x](std::size_t i) { return x[i]; }, width);
    const float scale = 1.0F / std::sqrt(ss / static_cast<float>(width) + epsilon);
    for (std::size_t i = 0; i < width; ++i)
        out[i] = (x[i] * scale) * weight[i];
}

void rope_angles(std::int32_t position, const double* inv_freq, std::size_t n_pairs,
                 double magnitude, float* angles) {
    for (std::size_t p = 0; p < n_pairs; ++p) {
        const SinCos angle = portable_sincos(static_cast<double>(position) * inv_freq[p]);
        angles[2 * p] = static_cast<float>(angle.cos * magnitude);
        angles[2 * p + 1] = static_cast<float>(angle.sin * magnitude);
    }
}

void rope(const RopeArgs& row) {
    const bool halves = row.pairing == RopePairing::kHalves;
    for (std::size_t head = 0; head < row.n_heads; ++head) {
        float* const x = row.x + head * row.head_dim;
        for (std::size_t p = 0; p < row.n_pairs; ++p) {
            float& first = x[halves ? p : 2 * p];
            float& second = x[halves ? p + row.n_pairs : 2 * p + 1];
            const float cos = row.angles[2 * p];
            const float sin = row.angles[2 * p + 1];
            const float a = first;
            const float b = second;
            first = std::fma(a, cos, -(b * sin));
            second = std::fma(a, sin, b * cos);
        }
    }
}

void to_half(const float* x, std::size_t n, std::uint16_t* out) {
    for (std::size_t i = 0; i < n; ++i)
        out[i] = float_to_half(x[i]);
}

void swiglu(const float* gate, const float* up, std::size_t n, float* out) {
    for (std::size_t i = 0; i < n; ++i)
        out[i] = portable_silu(gate[i]) * up[i];
}

void add(const float* a, const float* b, std::size_t n, float* out) {
    for (std::size_t i = 0; i < n; ++i)
        out[i] = a[i] + b[i];
}

/// Scores, maximum, probabilities and their sum of one query in the block: s, m, p, l.
void block_probabilities(AttentionTile& tile, std::size_t query, KvType type, const std::byte* k,
                         std::size_t head_dim, float scale) {
    const float* const q = tile.q[query];
    float* const p = tile.p[query];
    const std::size_t n = tile.n_keys[query];
    float max = 0;
    for (std::size_t t = 0; t < n; ++t) {
        const std::byte* const key = k + t * kv_row_bytes(type, head_dim);
        p[t] = dot16(
                   q, [&](std::size_t d) { return read_kv(type, key, head_dim, d); }, head_dim) *
               scale;
        max = t == 0 || p[t] > max ? p[t] : max;
    }
    LaneSum sum;
    for (std::size_t t = 0; t < n; ++t) {
        p[t] = portable_exp(p[t] - max);
        sum.lane[t % kLanes] += p[t];
    }
    tile.block_max[query] = max;
    tile.block_sum[query] = sum.fold();
}

/// Moves max and sum on to the block's and leaves the weights of the old O and the block's o.
void combine_sums(AttentionTile& tile, std::size_t query) {
    if (!tile.begun) {
        tile.max[query] = tile.block_max[query];
        tile.sum[query] = tile.block_sum[query];
        return;
    }
    const float m = tile.block_max[query];
    const float max = tile.max[query] > m ? tile.max[query] : m;
    const float a = portable_exp(tile.max[query] - max);
    const float c = portable_exp(m - max);
    tile.sum[query] = std::fma(tile.sum[query], a, tile.block_sum[query] * c);
    tile.max[query] = max;
    tile.old_weight[query] = a;
    tile.new_weight[query] = c;
}

void combine_value(const AttentionTile& tile, std::size_t query, std::size_t d, float block_o) {
    float& o = tile.o[query][d];
    o = tile.begun ? std::fma(o, tile.old_weight[query], block_o * tile.new_weight[query])
                   : block_o;
}

void attention_scores(AttentionTile& tile, KvType type, const std::byte* k, std::size_t head_dim,
                      float scale) {
    for (std::size_t query = 0; query < tile.n_queries; ++query) {
        if (tile.n_keys[query] == 0) continue;
        block_probabilities(tile, query, type, k, head_dim, scale);
        combine_sums(tile, query);
    }
}

void attention_values(AttentionTile& tile, KvType type, const std::byte* v, std::size_t head_dim) {
    const std::size_t row_bytes = kv_row_bytes(type, head_dim);
    for (std::size_t query = 0; query < tile.n_queries; ++query) {
        if (tile.n_keys[query] == 0) continue;
        for (std::size_t d = 0; d < head_dim; ++d) {
            float o = 0;
            for (std::size_t t = 0; t < tile.n_keys[query]; ++t)
                o = std::fma(tile.p[query][t], read_kv(type, v + t * row_bytes, head_dim, d), o);
            combine_value(tile, query, d, o);
        }
    }
    tile.begun = true;
}

void attention_combine(AttentionTile& tile, const float* const* block_o, std::size_t head_dim) {
    for (std::size_t query = 0; query < tile.n_queries; ++query) {
        if (tile.n_keys[query] == 0) continue;
        combine_sums(tile, query);
        for (std::size_t d = 0; d < head_dim; ++d)
            combine_value(tile, query, d, block_o[query][d]);
    }
    tile.begun = true;
}

void attention_finish(AttentionTile& tile, std::size_t head_dim) {
    for (std::size_t query = 0; query < tile.n_queries; ++query) {
        const float inverse = 1.0F / tile.sum[query];
        for (std::size_t d = 0; d < head_dim; ++d)
            tile.o[query][d] = tile.o[query][d] * inverse;
    }
}

}  // namespace

const FloatKernels kFloatKernelsScalar = {
    .rms_norm = rms_norm,
    .rope_angles = rope_angles,
    .rope = rope,
    .to_half = to_half,
    .swiglu = swiglu,
    .add = add,
    .kv_rows = &kKvRowKernelsScalar,
    .attention_scores = attention_scores,
    .attention_values = attention_values,
    .attention_combine = attention_combine,
    .attention_finish = attention_finish,
};

}  // namespace potluck::kernels::cpu
