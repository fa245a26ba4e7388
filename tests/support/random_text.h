#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/ids.h"
#include "base/rng.h"

namespace potluck {

/// Tokens 0 to `letters` - 1, drawn by their place.
inline std::vector<TokenId> random_text(std::uint64_t seed, std::size_t size,
                                        TokenId letters = 30000) {
    std::vector<TokenId> text(size);
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<TokenId>(uniform(seed, i) * letters);
    return text;
}

}  // namespace potluck
