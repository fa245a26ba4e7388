#pragma once

// What speculation did over all sequences that have ended, for the metrics.

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/core/speculation.h"

namespace potluck::coordinator {

struct SpeculationTotals {
    std::uint64_t rounds = 0;
    std::uint64_t drafted = 0;
    std::uint64_t accepted = 0;
    std::vector<std::uint64_t> drafted_at;   ///< by depth, from 1
    std::vector<std::uint64_t> accepted_at;  ///< by depth
    nanoseconds draft{}, verify{}, rollback{};
    nanoseconds lost{};  ///< of sequences that were slower than without drafts
    nanoseconds won{};   ///< of the others
    /// Sequences by the drafter that was chosen at their end and the reason. Both are from small
    /// sets.
    std::map<std::pair<std::string, std::string>, std::uint64_t> sequences;

    void add(const SpeculationReport& report);
};

}  // namespace potluck::coordinator
