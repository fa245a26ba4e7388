#pragma once

// A model of so many layers, as far as plans need to know one.

#include <cstdint>

#include "model/graph/architecture.h"

namespace potluck {

inline model::Footprint small_footprint(std::uint32_t layers, std::uint64_t layer_bytes) {
    model::Footprint f;
    f.layer_bytes.assign(layers, layer_bytes);
    return f;
}

inline model::ModelConfig small_config(std::uint32_t layers) {
    model::ModelConfig c;
    c.n_layers = layers;
    c.context_length = 512;
    c.kv_heads = 1;
    c.head_dim = 4;
    return c;
}

}  // namespace potluck
