#pragma once

// What speculation did over all sequences that have ended, for the metrics.

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

struct SpeculationTotals {
    SpeculationReport sum;
    nanoseconds lost{};  ///< of sequences that were slower than without drafts
    nanoseconds won{};   ///< of the others
    /// Sequences by the drafter that was chosen at their end and the reason. Both are from small
    /// sets.
    std::map<std::pair<std::string, std::string>, std::uint64_t> sequences;

    void add(const SpeculationReport& report);
};

}  // namespace potluck::coordinator
