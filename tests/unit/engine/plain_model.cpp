#include "tests/unit/engine/plain_model.h"

#include <algorithm>
#include <cmath>

#include "base/portable_math.h"

namespace potluck::engine {

PlainModel::Values PlainModel::product(const std::string& stem, const Values& x) const {
    const auto& weight = tensor(stem + ".weight");
    Values y(weight.size() / x.size());
    for (std::size_t o = 0; o < y.size(); ++o)
        for (std::size_t i = 0; i < x.size(); ++i)
            y[o] += static_cast<double>(weight[o * x.size() + i]) * x[i];
    if (has(stem + ".bias")) {
        for (std::size_t o = 0; o < y.size(); ++o)
            y[o] += static_cast<double>(tensor(stem + ".bias")[o]);
    }
    return y;
}

PlainModel::Values PlainModel::norm(const Values& x, const std::string& name) const {
    double squares = 0;
    for (const double v : x)
        squares += v * v;
    const double mean = squares / static_cast<double>(x.size());
    const double scale = 1 / std::sqrt(mean + static_cast<double>(spec_.rms_epsilon));
    Values y;
    for (std::size_t i = 0; i < x.size(); ++i)
        y.push_back(x[i] * scale * static_cast<double>(tensor(name)[i]));
    return y;
}

PlainModel::Values PlainModel::heads_norm(const Values& x, const std::string& name) const {
    if (!has(name)) return x;
    Values y;
    for (std::size_t at = 0; at < x.size(); at += spec_.head_dim) {
        const auto from = x.begin() + static_cast<std::ptrdiff_t>(at);
        const Values one = norm(Values(from, from + spec_.head_dim), name);
        y.insert(y.end(), one.begin(), one.end());
    }
    return y;
}

/// Su et al., arXiv 2104.09864. GGUF's llama pairs neighbours, qwen the two halves.
void PlainModel::turn(Values& x, std::size_t position) const {
    const std::size_t n_rot = spec_.n_rot == 0 ? spec_.head_dim : spec_.n_rot;
    for (std::size_t head = 0; head < x.size(); head += spec_.head_dim) {
        for (std::size_t p = 0; p < n_rot / 2; ++p) {
            double frequency =
                std::pow(10000.0, -2.0 * static_cast<double>(p) / static_cast<double>(n_rot));
            if (has("rope_freqs.weight"))
                frequency /= static_cast<double>(tensor("rope_freqs.weight")[p]);
            const double angle = static_cast<double>(position) * frequency;
            const bool neighbours = spec_.architecture == "llama";
            double& a = x[head + (neighbours ? 2 * p : p)];
            double& b = x[head + (neighbours ? 2 * p + 1 : p + n_rot / 2)];
            const double before = a;
            a = before * std::cos(angle) - b * std::sin(angle);
            b = before * std::sin(angle) + b * std::cos(angle);
        }
    }
}

PlainModel::Values PlainModel::attend(std::size_t layer, const Values& q) const {
    const std::size_t d = spec_.head_dim;
    Values out(q.size());
    for (std::size_t head = 0; head < spec_.heads; ++head) {
        const std::size_t shared = head / (spec_.heads / spec_.kv_heads) * d;
        Values weights;
        for (const auto& key : keys_[layer]) {
            double dot = 0;
            for (std::size_t i = 0; i < d; ++i)
                dot += q[head * d + i] * key[shared + i];
            weights.push_back(std::exp(dot / std::sqrt(static_cast<double>(d))));
        }
        double sum = 0;
        for (const double w : weights)
            sum += w;
        for (std::size_t t = 0; t < weights.size(); ++t)
            for (std::size_t i = 0; i < d; ++i)
                out[head * d + i] += weights[t] / sum * values_[layer][t][shared + i];
    }
    return out;
}

PlainModel::Values PlainModel::layer(std::size_t index, Values x, std::size_t position) {
    const std::string b = "blk." + std::to_string(index) + ".";
    // The cache holds halves (docs/arithmetic.md); everything else here is double.
    const auto halves = [](Values v) {
        for (double& value : v)
            value = static_cast<double>(half_to_float(float_to_half(static_cast<float>(value))));
        return v;
    };
    const auto add = [](Values& to, const Values& what) {
        for (std::size_t i = 0; i < to.size(); ++i)
            to[i] += what[i];
    };
    const Values h = norm(x, b + "attn_norm.weight");
    Values q = heads_norm(product(b + "attn_q", h), b + "attn_q_norm.weight");
    Values k = heads_norm(product(b + "attn_k", h), b + "attn_k_norm.weight");
    turn(q, position);
    turn(k, position);
    keys_[index].push_back(halves(k));
    values_[index].push_back(halves(product(b + "attn_v", h)));
    add(x, product(b + "attn_output", attend(index, q)));

    const Values f = norm(x, b + "ffn_norm.weight");
    Values inner = product(b + "ffn_gate", f);
    const Values up = product(b + "ffn_up", f);
    for (std::size_t i = 0; i < inner.size(); ++i)
        inner[i] = inner[i] / (1 + std::exp(-inner[i])) * up[i];
    add(x, product(b + "ffn_down", inner));
    return x;
}

std::vector<std::vector<double>> PlainModel::forward(std::span<const TokenId> tokens) {
    keys_.assign(spec_.layers, {});
    values_.assign(spec_.layers, {});
    std::vector<Values> logits;
    for (std::size_t position = 0; position < tokens.size(); ++position) {
        const auto& embedding = tensor("token_embd.weight");
        const auto row = embedding.begin() + tokens[position] * static_cast<int>(spec_.width);
        Values x(row, row + static_cast<int>(spec_.width));
        for (std::size_t index = 0; index < spec_.layers; ++index)
            x = layer(index, std::move(x), position);
        x = norm(x, "output_norm.weight");
        logits.push_back(product(has("output.weight") ? "output" : "token_embd", x));
    }
    return logits;
}

}  // namespace potluck::engine
