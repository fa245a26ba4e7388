#pragma once

// Rates, times and addresses as people write them.

#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace potluck::netshape {

/// "1gbit", "100mbit", "64kbit": bits per second, more than none. kInvalidArgument otherwise.
Result<double> parse_rate(std::string_view text);
/// "0.3ms", "200us", "1s". kInvalidArgument otherwise.
Result<std::chrono::nanoseconds> parse_time(std::string_view text);
/// "10.77.0.1", in host order. kInvalidArgument otherwise.
Result<std::uint32_t> parse_address(std::string_view text);
/// "0.01": a share from 0 to 1. kInvalidArgument otherwise.
Result<double> parse_share(std::string_view text);

}  // namespace potluck::netshape
