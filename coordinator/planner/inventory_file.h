#pragma once

// Machines described by hand, as YAML (docs/planning.md has the form and an example).

#include <string_view>

#include "base/result.h"
#include "coordinator/planner/inventory.h"

namespace potluck::planner {

inline constexpr std::size_t kMaxInventoryBytes = std::size_t{1} << 20;

/// `name` is the file's, for messages: every error is kInvalidArgument and says "name:line: what".
/// Unknown and repeated keys are errors, so that no wish is silently dropped.
Result<Inventory> parse_inventory(std::string_view text, std::string_view name);

}  // namespace potluck::planner
