#pragma once

#include <cstdint>
#include <span>

namespace potluck::model::unicode {

extern const char kUnicodeVersion[];

/// Runs of code points of one class, ascending from U+0000: code point << 8 | bit number of
/// CharClass.
std::span<const std::uint32_t> class_runs();

}  // namespace potluck::model::unicode
