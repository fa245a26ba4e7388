#pragma once

// A run's figures in writing: pure functions of the numbers. Keys and meanings: docs/simulation.md.

#include <optional>
#include <string>

#include "coordinator/simulate/micro_batching.h"
#include "coordinator/simulate/simulation.h"

namespace potluck::simulate {

/// For people.
std::string to_table(const SimulationResult& result,
                     const std::optional<MicroBatchingResult>& batching);
/// One object on one line; `micro_batching` is null if it was not compared.
std::string to_json(const SimulationResult& result,
                    const std::optional<MicroBatchingResult>& batching);

}  // namespace potluck::simulate
