#pragma once

#include <string>

#include "base/result.h"

namespace potluck::links {

/// Until links are authenticated nobody may listen beyond this machine: kInvalidArgument for any
/// address ("host:port") whose host is not loopback.
Status require_loopback(const std::string& address);

}  // namespace potluck::links
