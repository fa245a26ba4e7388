#pragma once

// Drafts for simulated clusters: right as often as the scenario says, because they are made from
// what the oracle says.

#include <memory>

#include "coordinator/core/speculation.h"
#include "tests/sim/cluster.h"
#include "tests/sim/scenario.h"

namespace potluck::sim {

/// Null if the scenario has none. Requests are known by what they ask for: "drafts ID". `scenario`
/// outlives it.
std::unique_ptr<coordinator::Speculation> oracle_drafts(const Scenario& scenario,
                                                        std::shared_ptr<FakeDraftLog> log);
/// When all requests are over: what the drafts saw, and what they complain of.
void take_drafts(const FakeDraftLog& log, Outcome& outcome);

}  // namespace potluck::sim
