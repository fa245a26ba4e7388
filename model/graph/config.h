#pragma once

// A model's hyper-parameters, read and checked once, in one form for every architecture.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/gguf/gguf.h"

namespace potluck::model {

/// Bounds on what a file may claim; above them it is refused.
inline constexpr std::uint32_t kMaxLayers = 1024;
inline constexpr std::uint32_t kMaxWidth = 1U << 20;
inline constexpr std::uint32_t kMaxContext = 1U << 24;
inline constexpr double kMaxRotaryFactor = 4096;

/// Which elements of a head turn together: (2p, 2p+1) or (p, p + n_rot/2).
enum class RotaryPairing : std::uint8_t { kNeighbours, kHalves };

/// Rotary position embedding with whatever scaling the file asks for already worked in.
struct RotaryConfig {
    RotaryPairing pairing = RotaryPairing::kHalves;
    std::vector<double> inv_freq;  ///< radians per position, one per pair
    double magnitude = 1;          ///< factor on sine and cosine (YaRN)
};

/// What a person wants of rotary positions instead of what the file says, to go beyond the context
/// that a model was trained on.
struct RotaryOverride {
    enum class Scaling : std::uint8_t { kOfFile, kNone, kLinear, kYarn };
    Scaling scaling = Scaling::kOfFile;  ///< with a factor and a file that names none: linear
    double factor = 0;                   ///< how much longer; 0: the file's
    double base = 0;                     ///< of the frequencies; 0: the file's

    friend bool operator==(const RotaryOverride&, const RotaryOverride&) = default;
};
/// From names and numbers as people and plans give them: "", "none", "linear" or "yarn"; factor 0
/// or 1 to kMaxRotaryFactor; base 0 or more than 1. kInvalidArgument.
Result<RotaryOverride> make_rotary_override(std::string_view scaling, double factor, double base);
/// "", "none", "linear" or "yarn".
std::string_view to_string(RotaryOverride::Scaling scaling);

struct ModelConfig {
    std::string architecture;
    std::string name;  ///< general.name, or empty
    std::uint32_t n_layers = 0;
    std::uint32_t width = 0;  ///< of the residual stream (n_embd)
    std::uint32_t ffn_width = 0;
    std::uint32_t heads = 0;
    std::uint32_t kv_heads = 0;
    std::uint32_t head_dim = 0;
    std::uint32_t context_length = 0;  ///< positions the model was made for, with its scaling
    std::uint32_t vocabulary = 0;      ///< tokens that exist; logits beyond are never sampled
    float rms_epsilon = 0;
    RotaryConfig rotary;
};

/// kInvalidArgument naming both numbers if `context` positions are more than the model takes.
Status check_context(const ModelConfig& config, std::size_t context);

/// Reads the keys that llama-like architectures share, under "<architecture>.". Errors name the
/// key.
Result<ModelConfig> read_common_config(const gguf::Gguf& file, std::string_view architecture,
                                       RotaryPairing pairing);

}  // namespace potluck::model
