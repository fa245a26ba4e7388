#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "model/gguf/gguf.h"
#include "model/graph/config.h"

namespace potluck::model {

/// Frequencies of rotary positions with the file's scaling: none, linear, YaRN (Peng et al., arXiv
/// 2309.00071), and the per-pair factors of `rope_freqs.weight` (Llama 3.1). `prefix` is
/// "<architecture>.". Other scaling types are kUnsupported, by name.
Result<RotaryConfig> read_rotary(const gguf::Gguf& file, const std::string& prefix,
                                 RotaryPairing pairing, std::uint32_t n_rot,
                                 std::uint32_t context_length);

}  // namespace potluck::model
