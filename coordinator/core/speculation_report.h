#pragma once

// Reports of several sequences as one.

#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

/// Adds up what can be; arm and reason are those of `more`, which ended later.
void add(SpeculationReport& sum, const SpeculationReport& more);

}  // namespace potluck::coordinator
