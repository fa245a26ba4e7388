#pragma once

#include <string>

#include "base/result.h"

namespace potluck::cli {

/// `chosen`, or where clusters and certificates are kept if nothing was chosen.
Result<std::string> state_directory(const std::string& chosen);

}  // namespace potluck::cli
