#include "links/loopback.h"

#include <fmt/format.h>

#include "transport/address.h"

namespace potluck::links {

Status require_loopback(const std::string& address) {
    POTLUCK_ASSIGN(const auto parsed, transport::parse_address(address));
    if (parsed.host == "localhost" || parsed.host == "::1") return {};
    // Only digits and dots after "127.", so that no host name can pass for an address.
    const bool digits = parsed.host.find_first_not_of("0123456789.") == std::string::npos;
    if (digits && parsed.host.starts_with("127.")) return {};
    return error(
        ErrorCode::kInvalidArgument,
        fmt::format(
            "{}: links between machines are not authenticated yet, so only loopback addresses "
            "(127.0.0.1, [::1], localhost) are listened on",
            address));
}

}  // namespace potluck::links
