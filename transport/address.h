#pragma once

// Addresses as people write them: "host:port", "10.0.0.7:7000", "[fd00::7]:7000".

#include <cstdint>
#include <string>

#include "base/result.h"

namespace potluck::transport {

struct HostPort {
    std::string host;  ///< without brackets; empty means every IPv4 address of this machine
    std::uint16_t port = 0;

    friend bool operator==(const HostPort&, const HostPort&) = default;
};

/// kInvalidArgument that quotes the address if it is not of this form.
Result<HostPort> parse_address(const std::string& address);
/// With brackets if the host has colons.
std::string to_string(const HostPort& address);

}  // namespace potluck::transport
