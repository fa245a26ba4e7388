#pragma once

#include <string>
#include <string_view>

namespace potluck {

/// Two hexadecimal digits a byte, small letters.
std::string hex(std::string_view bytes);

}  // namespace potluck
