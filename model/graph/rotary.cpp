#include "model/graph/rotary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "base/portable_math.h"

namespace potluck::model {
namespace {

struct Scaling {
    std::string type = "linear";
    double factor = 1;
    double original_context = 0;
    double beta_fast = 32;
    double beta_slow = 1;
    double attention_factor = 1;
};

Result<double> read_positive(const gguf::Gguf& file, const std::string& key, double fallback) {
    if (file.find(key) == nullptr) return fallback;
    POTLUCK_ASSIGN(const double value, file.get_float(key));
    if (!(value > 0) || !std::isfinite(value)) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("{}: key '{}' is {}, expected a positive number", file.name(), key, value));
    }
    return value;
}

/// What the file says, or what is wanted instead.
Result<Scaling> read_scaling(const gguf::Gguf& file, const std::string& prefix,
                             std::uint32_t context_length, const RotaryOverride& wanted) {
    Scaling s;
    const std::string base = prefix + "rope.scaling.";
    if (wanted.scaling != RotaryOverride::Scaling::kOfFile) {
        s.type = to_string(wanted.scaling);
    } else if (file.find(base + "type") != nullptr) {
        POTLUCK_ASSIGN(s.type, file.get_string(base + "type"));
        if (s.type == "none" && wanted.factor != 0) s.type = "linear";
    }
    if (s.type != "none" && s.type != "linear" && s.type != "yarn") {
        return error(
            ErrorCode::kUnsupported,
            fmt::format("{}: rotary scaling '{}' is not supported (supported: none, linear, yarn)",
                        file.name(), s.type));
    }
    s.original_context = context_length;
    if (file.find(base + "original_context_length") != nullptr) {
        POTLUCK_ASSIGN(const std::uint64_t original,
                       file.get_uint(base + "original_context_length"));
        if (original == 0 || original > kMaxContext) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("{}: key '{}original_context_length' is {}", file.name(), base,
                                     original));
        }
        s.original_context = static_cast<double>(original);
    }
    if (s.type == "none") return s;
    POTLUCK_ASSIGN(s.factor, read_positive(file, prefix + "rope.scale_linear", 1));
    POTLUCK_ASSIGN(s.factor, read_positive(file, base + "factor", s.factor));
    if (wanted.factor != 0) s.factor = wanted.factor;
    POTLUCK_ASSIGN(s.beta_fast, read_positive(file, base + "yarn_beta_fast", 32));
    POTLUCK_ASSIGN(s.beta_slow, read_positive(file, base + "yarn_beta_slow", 1));
    POTLUCK_ASSIGN(s.attention_factor, read_positive(file, base + "attn_factor", 1));
    return s;
}

/// YaRN: slow pairs are stretched by the factor, fast ones kept, with a ramp between.
void apply_yarn(const Scaling& s, double base, std::uint32_t n_rot, RotaryConfig& rotary) {
    const double ln_base = portable_log(base);
    const auto pair_of_turns = [&](double turns) {
        return n_rot * portable_log(s.original_context / (2 * std::numbers::pi * turns)) /
               (2 * ln_base);
    };
    const double low = std::max(0.0, std::floor(pair_of_turns(s.beta_fast)));
    const double high = std::min<double>(n_rot - 1, std::ceil(pair_of_turns(s.beta_slow)));
    for (std::size_t p = 0; p < rotary.inv_freq.size(); ++p) {
        const double ramp = (static_cast<double>(p) - low) / std::max(0.001, high - low);
        const double keep = 1 - std::clamp(ramp, 0.0, 1.0);
        const double f = rotary.inv_freq[p];
        rotary.inv_freq[p] = f / s.factor * (1 - keep) + f * keep;
    }
    rotary.magnitude = (1 + 0.1 * portable_log(s.factor)) * s.attention_factor;
}

/// Llama 3.1 and later carry one divisor per pair.
Status apply_factors(const gguf::Gguf& file, RotaryConfig& rotary) {
    const auto* tensor = file.find_tensor(kRotaryFactors);
    if (tensor == nullptr) return {};
    if (tensor->data.empty())
        return error(ErrorCode::kNotFound, fmt::format("{}: the data of tensor '{}' is not at hand",
                                                       file.name(), kRotaryFactors));
    const std::size_t pairs = rotary.inv_freq.size();
    if (tensor->type != TensorType::kF32 || tensor->dims[0] != pairs || tensor->rows() != 1) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("{}: tensor 'rope_freqs.weight' must be F32 of {}", file.name(), pairs));
    }
    for (std::size_t p = 0; p < pairs; ++p) {
        float factor = 0;
        std::memcpy(&factor, tensor->data.data() + p * sizeof(float), sizeof(float));
        if (!(factor > 0) || !std::isfinite(factor)) {
            return error(ErrorCode::kCorrupt,
                         fmt::format("{}: tensor 'rope_freqs.weight' holds {} at {}", file.name(),
                                     factor, p));
        }
        rotary.inv_freq[p] /= static_cast<double>(factor);
    }
    return {};
}

}  // namespace

namespace {

/// The frequencies of a scaling; `wanted` may have another base.
Result<RotaryConfig> make_rotary(const gguf::Gguf& file, const std::string& prefix,
                                 RotaryPairing pairing, std::uint32_t n_rot, const Scaling& scaling,
                                 const RotaryOverride& wanted) {
    POTLUCK_ASSIGN(double base, read_positive(file, prefix + "rope.freq_base", 10000));
    if (base <= 1) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("{}: key '{}rope.freq_base' is {}, expected more than 1",
                                 file.name(), prefix, base));
    }
    if (wanted.base != 0) base = wanted.base;
    RotaryConfig rotary;
    rotary.pairing = pairing;
    const double ln_base = portable_log(base);
    for (std::uint32_t p = 0; p < n_rot / 2; ++p) {
        rotary.inv_freq.push_back(portable_exp(-(2.0 * p / n_rot) * ln_base));
    }
    if (scaling.type == "linear") {
        for (double& f : rotary.inv_freq)
            f /= scaling.factor;
    } else if (scaling.type == "yarn") {
        apply_yarn(scaling, base, n_rot, rotary);
    }
    POTLUCK_TRY(apply_factors(file, rotary));
    return rotary;
}

}  // namespace

Result<RotaryConfig> read_rotary(const gguf::Gguf& file, const std::string& prefix,
                                 RotaryPairing pairing, std::uint32_t n_rot,
                                 std::uint32_t context_length) {
    POTLUCK_ASSIGN(const Scaling scaling, read_scaling(file, prefix, context_length, {}));
    return make_rotary(file, prefix, pairing, n_rot, scaling, {});
}

Status override_rotary(const gguf::Gguf& file, const RotaryOverride& wanted, ModelConfig& config) {
    if (wanted == RotaryOverride{}) return {};
    const std::string prefix = config.architecture + ".";
    const auto n_rot = static_cast<std::uint32_t>(2 * config.rotary.inv_freq.size());
    POTLUCK_ASSIGN(const Scaling scaling,
                   read_scaling(file, prefix, config.context_length, wanted));
    if (wanted.scaling != RotaryOverride::Scaling::kOfFile && scaling.type != "none" &&
        scaling.factor == 1) {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("rotary scaling '{}' needs a factor: the file has none", scaling.type));
    }
    POTLUCK_ASSIGN(config.rotary,
                   make_rotary(file, prefix, config.rotary.pairing, n_rot, scaling, wanted));
    const double scaled =
        std::min<double>(std::floor(scaling.original_context * scaling.factor), kMaxContext);
    if (scaling.type == "none") {
        config.context_length = static_cast<std::uint32_t>(
            std::min<double>(config.context_length, scaling.original_context));
    } else if (wanted.factor != 0) {
        config.context_length = std::max(config.context_length, static_cast<std::uint32_t>(scaled));
    }
    return {};
}

}  // namespace potluck::model
