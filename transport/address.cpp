#include "transport/address.h"

#include <fmt/core.h>

#include <charconv>
#include <string_view>

namespace potluck::transport {

Result<HostPort> parse_address(const std::string& address) {
    const auto refuse = [&](const char* why) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("address \"{}\": {}; it should be \"host:port\"", address, why));
    };
    const std::size_t colon = address.rfind(':');
    if (colon == std::string::npos) return refuse("there is no port");
    std::string_view host = std::string_view(address).substr(0, colon);
    const std::string_view digits = std::string_view(address).substr(colon + 1);
    if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    } else if (host.find_first_of(":[]") != std::string_view::npos) {
        return refuse("an IPv6 host needs brackets");
    }
    HostPort parsed;
    const char* end = digits.data() + digits.size();
    const auto [last, failure] = std::from_chars(digits.data(), end, parsed.port);
    if (failure != std::errc{} || last != end) return refuse("the port is not a number to 65535");
    parsed.host = host;
    return parsed;
}

std::string to_string(const HostPort& address) {
    const bool brackets = address.host.find(':') != std::string::npos;
    return brackets ? fmt::format("[{}]:{}", address.host, address.port)
                    : fmt::format("{}:{}", address.host, address.port);
}

}  // namespace potluck::transport
