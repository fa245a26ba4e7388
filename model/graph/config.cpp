#include "model/graph/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "model/graph/rotary.h"

namespace potluck::model {
namespace {

Status complain(const gguf::Gguf& file, std::string_view key, std::string_view what) {
    return error(ErrorCode::kCorrupt, fmt::format("{}: key '{}': {}", file.name(), key, what));
}

/// An integer key within [least, most]; absent means `fallback` unless that is 0.
Result<std::uint32_t> read_uint(const gguf::Gguf& file, const std::string& key, std::uint32_t least,
                                std::uint32_t most, std::uint32_t fallback) {
    if (file.find(key) == nullptr && fallback != 0) return fallback;
    POTLUCK_ASSIGN(const std::uint64_t value, file.get_uint(key));
    if (value < least || value > most) {
        return error(ErrorCode::kCorrupt, fmt::format("{}: key '{}' is {}, expected {} to {}",
                                                      file.name(), key, value, least, most));
    }
    return static_cast<std::uint32_t>(value);
}

Status read_heads(const gguf::Gguf& file, const std::string& prefix, ModelConfig& config) {
    POTLUCK_ASSIGN(config.heads, read_uint(file, prefix + "attention.head_count", 1, 4096, 0));
    POTLUCK_ASSIGN(config.kv_heads,
                   read_uint(file, prefix + "attention.head_count_kv", 1, 4096, config.heads));
    if (config.heads % config.kv_heads != 0) {
        return complain(
            file, prefix + "attention.head_count_kv",
            fmt::format("{} does not divide the {} heads", config.kv_heads, config.heads));
    }
    const std::string key_length = prefix + "attention.key_length";
    if (file.find(key_length) == nullptr && config.width % config.heads != 0) {
        return complain(file, prefix + "embedding_length",
                        fmt::format("{} is no multiple of {} heads", config.width, config.heads));
    }
    POTLUCK_ASSIGN(config.head_dim,
                   read_uint(file, key_length, 1, 8192, config.width / config.heads));
    POTLUCK_ASSIGN(const std::uint32_t value_length,
                   read_uint(file, prefix + "attention.value_length", 1, 8192, config.head_dim));
    if (value_length != config.head_dim) {
        return error(ErrorCode::kUnsupported,
                     fmt::format("{}: values of {} per head with keys of {} are not supported",
                                 file.name(), value_length, config.head_dim));
    }
    return {};
}

/// The number of tokens that exist; the embedding may have more rows, which are padding.
Status read_vocabulary(const gguf::Gguf& file, const std::string& prefix, ModelConfig& config) {
    if (file.find("tokenizer.ggml.tokens") != nullptr) {
        POTLUCK_ASSIGN(const auto tokens, file.get_strings("tokenizer.ggml.tokens"));
        if (tokens.empty()) return complain(file, "tokenizer.ggml.tokens", "is empty");
        config.vocabulary = static_cast<std::uint32_t>(tokens.size());
        return {};
    }
    POTLUCK_ASSIGN(config.vocabulary, read_uint(file, prefix + "vocab_size", 1, 1U << 30, 0));
    return {};
}

constexpr std::string_view kScalingNames[] = {"", "none", "linear", "yarn"};

}  // namespace

std::string_view to_string(RotaryOverride::Scaling scaling) {
    return kScalingNames[static_cast<std::size_t>(scaling)];
}

Result<RotaryOverride> make_rotary_override(std::string_view scaling, double factor, double base) {
    RotaryOverride wanted{.factor = factor, .base = base};
    const auto found = std::find(std::begin(kScalingNames), std::end(kScalingNames), scaling);
    if (found == std::end(kScalingNames)) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("rotary scaling '{}' is not known (none, linear, yarn)", scaling));
    }
    wanted.scaling = static_cast<RotaryOverride::Scaling>(found - std::begin(kScalingNames));
    if (factor != 0 && !(factor >= 1 && factor <= kMaxRotaryFactor)) {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("a rotary factor of {} is not within 1 to {}", factor, kMaxRotaryFactor));
    }
    if (factor != 0 && wanted.scaling == RotaryOverride::Scaling::kNone)
        return error(ErrorCode::kInvalidArgument, "rotary scaling 'none' takes no factor");
    if (base != 0 && !(base > 1 && base <= 1e18)) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("a rotary base of {} is not more than 1", base));
    }
    return wanted;
}

Status check_context(const ModelConfig& config, std::size_t context) {
    if (context <= config.context_length) return {};
    return error(ErrorCode::kInvalidArgument,
                 fmt::format("a context of {} is asked for, the model was made for {}", context,
                             config.context_length));
}

Result<ModelConfig> read_common_config(const gguf::Gguf& file, std::string_view architecture,
                                       RotaryPairing pairing) {
    const std::string prefix = std::string(architecture) + ".";
    ModelConfig config;
    config.architecture = architecture;
    if (const auto name = file.get_string("general.name")) config.name = *name;
    POTLUCK_ASSIGN(config.n_layers, read_uint(file, prefix + "block_count", 1, kMaxLayers, 0));
    POTLUCK_ASSIGN(config.width, read_uint(file, prefix + "embedding_length", 1, kMaxWidth, 0));
    POTLUCK_ASSIGN(config.ffn_width,
                   read_uint(file, prefix + "feed_forward_length", 1, kMaxWidth, 0));
    POTLUCK_ASSIGN(config.context_length,
                   read_uint(file, prefix + "context_length", 1, kMaxContext, 0));
    POTLUCK_TRY(read_heads(file, prefix, config));
    POTLUCK_TRY(read_vocabulary(file, prefix, config));

    const std::string epsilon_key = prefix + "attention.layer_norm_rms_epsilon";
    POTLUCK_ASSIGN(const double epsilon, file.get_float(epsilon_key));
    if (!(epsilon > 0 && epsilon < 1)) {
        POTLUCK_TRY(complain(file, epsilon_key, fmt::format("{} is not in (0, 1)", epsilon)));
    }
    config.rms_epsilon = static_cast<float>(epsilon);

    const std::string rotation_key = prefix + "rope.dimension_count";
    POTLUCK_ASSIGN(const std::uint32_t n_rot,
                   read_uint(file, rotation_key, 2, config.head_dim, config.head_dim));
    if (n_rot % 2 != 0) {
        POTLUCK_TRY(complain(file, rotation_key, fmt::format("{} is odd", n_rot)));
    }
    POTLUCK_ASSIGN(config.rotary, read_rotary(file, prefix, pairing, n_rot, config.context_length));
    return config;
}

}  // namespace potluck::model
