#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/gguf/gguf.h"
#include "model/graph/config.h"

namespace potluck::model {

/// The one tensor whose data a model's description depends on.
inline constexpr std::string_view kRotaryFactors = "rope_freqs.weight";

/// Frequencies of rotary positions with the file's scaling: none, linear, YaRN (Peng et al., arXiv
/// 2309.00071), and the per-pair factors of `rope_freqs.weight` (Llama 3.1). `prefix` is
/// "<architecture>.". Other scaling types are kUnsupported, by name.
Result<RotaryConfig> read_rotary(const gguf::Gguf& file, const std::string& prefix,
                                 RotaryPairing pairing, std::uint32_t n_rot,
                                 std::uint32_t context_length);

/// Puts `wanted` in the place of what the file says: the frequencies, the magnitude, and the
/// context that the model takes. Linear and YaRN scaling by F allow F times the context that the
/// model was trained on (`rope.scaling.original_context_length`, else `context_length`), or the
/// file's if that is more; none allows the trained one. The factors of `rope_freqs.weight` always
/// apply.
Status override_rotary(const gguf::Gguf& file, const RotaryOverride& wanted, ModelConfig& config);

}  // namespace potluck::model
