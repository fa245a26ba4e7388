#pragma once

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>

namespace potluck::test {

/// Of a text of metrics, by name and labels as they stand in it; each may be there once.
inline std::map<std::string, std::string> samples(const std::string& text) {
    std::map<std::string, std::string> found;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with('#')) continue;
        const auto space = line.rfind(' ');
        EXPECT_TRUE(found.emplace(line.substr(0, space), line.substr(space + 1)).second) << line;
    }
    return found;
}

}  // namespace potluck::test
