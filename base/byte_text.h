#pragma once

#include <cstdint>
#include <string>

namespace potluck {

/// A number of bytes for people: "1023 B", "1.5 KiB", "12.0 GiB".
std::string byte_text(std::uint64_t bytes);

}  // namespace potluck
