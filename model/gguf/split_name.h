#pragma once

// Names of the files of a split set: `<prefix>-00001-of-00003.gguf`, numbers from 1.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace potluck::model::gguf {

struct SplitName {
    std::string prefix;
    std::uint32_t number = 0;  ///< from 1
    std::uint32_t count = 0;
};

std::string split_file_name(const SplitName& name);
/// Takes a file name without folders apart; nothing if it has another form.
std::optional<SplitName> parse_split_file_name(std::string_view file_name);

}  // namespace potluck::model::gguf
