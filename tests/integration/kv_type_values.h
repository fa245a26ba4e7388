#pragma once

// Values of --kv-type that every promise about answers is tried with, as parameters of tests.

#include <gtest/gtest.h>

#include <string>

namespace potluck::integration {

inline auto kv_type_values() {
    return testing::Values("f16", "bf16", "q8_0", "q5_0", "q4_0", "turbo3", "k=q8_0,v=q4_0");
}

inline std::string kv_type_name(const testing::TestParamInfo<const char*>& entry) {
    std::string name = entry.param;
    for (char& c : name)
        if (c == '=' || c == ',') c = '_';
    return name;
}

}  // namespace potluck::integration
