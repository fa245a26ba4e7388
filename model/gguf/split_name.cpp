#include "model/gguf/split_name.h"

#include <fmt/format.h>

#include <algorithm>

namespace potluck::model::gguf {
namespace {

constexpr std::string_view kPattern = "-#####-of-#####.gguf";

std::uint32_t decimal(std::string_view digits) {
    std::uint32_t value = 0;
    for (const char c : digits)
        value = value * 10 + static_cast<std::uint32_t>(c - '0');
    return value;
}

}  // namespace

std::string split_file_name(const SplitName& name) {
    return fmt::format("{}-{:05}-of-{:05}.gguf", name.prefix, name.number, name.count);
}

std::optional<SplitName> parse_split_file_name(std::string_view file_name) {
    if (file_name.size() < kPattern.size()) return std::nullopt;
    const auto suffix = file_name.substr(file_name.size() - kPattern.size());
    const auto matches = [](char c, char p) { return p == '#' ? c >= '0' && c <= '9' : c == p; };
    if (!std::equal(suffix.begin(), suffix.end(), kPattern.begin(), matches)) return std::nullopt;
    file_name.remove_suffix(kPattern.size());
    return SplitName{std::string(file_name), decimal(suffix.substr(1, 5)),
                     decimal(suffix.substr(10, 5))};
}

}  // namespace potluck::model::gguf
