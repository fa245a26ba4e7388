#pragma once

// Reports of several sequences as one.

#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

/// Adds up what can be; arm and reason are those of `more`, which ended later.
void add(SpeculationReport& sum, const SpeculationReport& more);
/// Of lists whose entries are depths: the longer one's length.
void add_by_depth(std::vector<std::uint64_t>& sum, const std::vector<std::uint64_t>& more);

}  // namespace potluck::coordinator
