#pragma once

// Which seeds a simulation plays: 1 to so many, or what POTLUCK_SIM_SEED says, "17" or "1-10000".

#include <cstdint>
#include <cstdlib>

namespace potluck {

struct Seeds {
    std::uint64_t first = 1;
    std::uint64_t last;
    bool chosen = false;  ///< by hand

    explicit Seeds(std::uint64_t count) : last(count) {
        const char* wanted = std::getenv("POTLUCK_SIM_SEED");
        if (wanted == nullptr) return;
        chosen = true;
        char* rest = nullptr;
        first = last = std::strtoull(wanted, &rest, 10);
        if (*rest == '-') last = std::strtoull(rest + 1, nullptr, 10);
    }
    std::uint64_t count() const { return last - first + 1; }
};

}  // namespace potluck
